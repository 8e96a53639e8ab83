"""What a stack says of itself: the names that people, tools and tests find its parts by."""


def test_every_part_that_people_and_tools_look_for_is_an_output(translated):
    values = {name: output["Value"] for name, output in translated["Outputs"].items()}
    assert values == {
        "OrdersQueueUrl": {"Ref": "OrdersQueue"},
        "OrdersDlqUrl": {"Ref": "OrdersDlq"},
        "RejectedOrdersQueueUrl": {"Ref": "RejectedOrders"},
        "LedgerTableName": {"Ref": "LedgerTable"},
        "OperationsTableName": {"Ref": "OperationsTable"},
        "CustomersTableName": {"Ref": "CustomersTable"},
        # The alias: Lambda refuses to start a durable function by its bare ARN.
        "DurableOrderProcessorArn": {"Ref": "DurableOrderProcessorAliasprod"},
        "OrderEnricherArn": {"Fn::GetAtt": ["OrderEnricher", "Arn"]},
        "OrderReconcilerArn": {"Fn::GetAtt": ["OrderReconciler", "Arn"]},
        "OrderSweepArn": {"Fn::GetAtt": ["OrderSweep", "Arn"]},
        "StatusChangesQueueUrl": {"Ref": "StatusChangesQueue"},
        "StatusChangesDlqUrl": {"Ref": "StatusChangesDlq"},
        "OrderIngestArn": {"Fn::GetAtt": ["OrderIngest", "Arn"]},
    }


def test_the_output_for_direct_invokes_is_an_alias(translated, resources):
    assert resources[translated["Outputs"]["DurableOrderProcessorArn"]["Value"]["Ref"]]["Type"] == "AWS::Lambda::Alias"
