// bench/worker.py for Node.js: loads the handler once, and runs it for each line of standard input.

import { writeSync } from "node:fs";
import { createInterface } from "node:readline";

const answers = Number(process.env.ANSWERS);
const { handler } = await import("./handler.mjs");
writeSync(answers, "{}\n");

const context = {
  awsRequestId: "0a1b2c3d",
  functionName: "orders",
  functionVersion: "1",
  memoryLimitInMB: "1024",
  invokedFunctionArn: "arn:aws:lambda:us-east-1:123456789012:function:orders:prod",
  getRemainingTimeInMillis: () => 30_000,
};

for await (const line of createInterface({ input: process.stdin })) {
  const event = JSON.parse(line);
  const cpu = process.cpuUsage();
  const began = performance.now();
  const returned = await handler(event, context);
  const ms = performance.now() - began;
  const used = process.cpuUsage(cpu);
  writeSync(answers, `${JSON.stringify({ ms, cpu_ms: (used.user + used.system) / 1000, returned })}\n`);
}
process.exit(0);
