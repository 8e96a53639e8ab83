// The Node.js pattern that this project began from: enrich in a step, a durable wait of 2 seconds, finalize in a step.
// The steps make the same calls as the pipeline's: the enricher, and the four conditional updates of the ledger.

import { DynamoDBClient, UpdateItemCommand } from "@aws-sdk/client-dynamodb";
import { InvokeCommand, LambdaClient } from "@aws-sdk/client-lambda";
import { withDurableExecution } from "@aws/durable-execution-sdk-js";

const { ENRICHER_ARN, LEDGER_TABLE } = process.env;
const lambda = new LambdaClient({});
const dynamodb = new DynamoDBClient({});

const STRING = (value) => ({ S: value });
const NUMBER = (value) => ({ N: String(value) });

function item(value) {
  if (Array.isArray(value)) return { L: value.map(item) };
  if (value !== null && typeof value === "object") {
    return { M: Object.fromEntries(Object.entries(value).map(([name, member]) => [name, item(member)])) };
  }
  return typeof value === "number" ? NUMBER(value) : STRING(String(value));
}

/** Write an order's next states in one conditional update. */
async function move(orderId, states, condition, fields, values = {}) {
  const at = new Date().toISOString();
  const state = states.at(-1);
  const changes = {
    "#state": STRING(state),
    stateShard: STRING(`${state}#${orderId.length % 4}`),
    updatedAt: STRING(at),
    ...fields,
  };
  const names = Object.keys(changes);
  await dynamodb.send(new UpdateItemCommand({
    TableName: LEDGER_TABLE,
    Key: { orderId: STRING(orderId) },
    UpdateExpression: `SET ${names.map((name, i) => `${name} = :v${i}`).join(", ")},`
      + " history = list_append(if_not_exists(history, :none), :steps), version = if_not_exists(version, :zero) + :count",
    ConditionExpression: condition,
    ExpressionAttributeNames: { "#state": "state" },
    ExpressionAttributeValues: {
      ...Object.fromEntries(names.map((name, i) => [`:v${i}`, changes[name]])),
      ":none": { L: [] },
      ":steps": { L: states.map((step) => item({ state: step, at, attempt: 1 })) },
      ":zero": NUMBER(0),
      ":count": NUMBER(states.length),
      ...values,
    },
    ReturnValuesOnConditionCheckFailure: "ALL_OLD",
  }));
}

async function enrich(order, arn, logger) {
  const { orderId } = order;
  await move(orderId, ["RECEIVED", "ENRICHING"], "attribute_not_exists(orderId)", {
    executionArn: STRING(arn), attempt: NUMBER(1), enrichStarts: NUMBER(1), order: item(order),
  });
  logger.info("Invoking enricher", { orderId });
  const response = await lambda.send(new InvokeCommand({
    FunctionName: ENRICHER_ARN,
    Payload: JSON.stringify(order),
  }));
  const enrichment = JSON.parse(new TextDecoder().decode(response.Payload));
  if (response.FunctionError) throw new Error(`the enricher failed: ${enrichment.errorType}`);
  if (enrichment.statusCode !== 200) throw new Error(`the enricher answered ${enrichment.statusCode}`);
  await move(orderId, ["ENRICHED", "WAITING"], "executionArn = :me AND #state IN (:from)",
    { enrichment: item(enrichment) }, { ":me": STRING(arn), ":from": STRING("ENRICHING") });
  return enrichment;
}

async function finalize(order, arn, enrichment) {
  const owned = "executionArn = :me AND #state IN (:from)";
  await move(order.orderId, ["FINALIZING"], owned, {}, { ":me": STRING(arn), ":from": STRING("WAITING") });
  const finalizedAt = new Date().toISOString();
  await move(order.orderId, ["COMPLETED"], owned, { result: item({ finalizedAt }) },
    { ":me": STRING(arn), ":from": STRING("FINALIZING") });
  return {
    orderId: order.orderId,
    status: "COMPLETED",
    enrichedData: enrichment.enrichedData,
    finalizedAt,
    message: "Order finalized successfully",
  };
}

export const handler = withDurableExecution(async (order, context) => {
  const { logger } = context;
  const arn = context.executionContext?.durableExecutionArn ?? "arn";
  logger.info("Starting durable order processing", { orderId: order.orderId });
  try {
    if (typeof order.orderId !== "string") throw new Error("orderId is required");
    const enrichmentResult = await context.step("enrich", () => enrich(order, arn, logger));
    logger.info("Order enriched, waiting", { orderId: order.orderId });
    await context.wait("wait", { seconds: 2 });
    const finalResult = await context.step("finalize", () => finalize(order, arn, enrichmentResult));
    logger.info("Order completed", { orderId: order.orderId });
    return {
      success: true,
      orderId: order.orderId,
      enrichmentResult,
      finalResult,
      message: "Order processed successfully with durable execution",
      processedAt: new Date().toISOString(),
    };
  } catch (error) {
    logger.error("Order processing failed", { error: error.message, errorName: error.name });
    return { success: false, error: { message: error.message, name: error.name } };
  }
});
