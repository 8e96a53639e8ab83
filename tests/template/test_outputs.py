"""The outputs of the stack, by which people, tools and tests find its resources."""


def test_the_outputs_are_those_that_people_and_tools_use(translated):
    values = {name: output["Value"] for name, output in translated["Outputs"].items()}
    assert values == {
        "OrdersQueueUrl": {"Ref": "OrdersQueue"},
        "OrdersDlqUrl": {"Ref": "OrdersDlq"},
        "RejectedOrdersQueueUrl": {"Ref": "RejectedOrders"},
        "LedgerTableName": {"Ref": "LedgerTable"},
        "OperationsTableName": {"Ref": "OperationsTable"},
        "CustomersTableName": {"Ref": "CustomersTable"},
        # The alias, because Lambda refuses to start a durable function by an unqualified ARN.
        "DurableOrderProcessorArn": {"Ref": "DurableOrderProcessorAliasprod"},
        "OrderEnricherArn": {"Fn::GetAtt": ["OrderEnricher", "Arn"]},
        "OrderReconcilerArn": {"Fn::GetAtt": ["OrderReconciler", "Arn"]},
        "OrderSweepArn": {"Fn::GetAtt": ["OrderSweep", "Arn"]},
        "StatusChangesQueueUrl": {"Ref": "StatusChangesQueue"},
        "StatusChangesDlqUrl": {"Ref": "StatusChangesDlq"},
        "OrderIngestArn": {"Fn::GetAtt": ["OrderIngest", "Arn"]},
        "OrderPublisherArn": {"Fn::GetAtt": ["OrderPublisher", "Arn"]},
        "OrderEventsBusName": {"Ref": "OrderEvents"},
        "EventsDlqUrl": {"Ref": "EventsDlq"},
    }


def test_the_output_for_direct_invokes_is_an_alias(translated, resources):
    assert resources[translated["Outputs"]["DurableOrderProcessorArn"]["Value"]["Ref"]]["Type"] == "AWS::Lambda::Alias"
