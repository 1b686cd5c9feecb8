// Calls POST / with tokenClassification of @huggingface/inference.

import assert from "node:assert/strict";
import { InferenceClient } from "@huggingface/inference";

const TEXT = "Empire State Building is where Barack Obama met Beyoncé";
const client = new InferenceClient().endpoint(process.env.NERVE_URL + "/");

const found = await client.tokenClassification({
  inputs: TEXT,
  parameters: { aggregation_strategy: "first" },
});
console.log("tokenClassification:", found);
assert(found.some((entity) => entity.entity_group === "person"));
for (const entity of found) assert(entity.score >= 0 && entity.score <= 1);

await assert.rejects(
  client.tokenClassification({ inputs: TEXT, parameters: { aggregation_strategy: "best" } }),
  (error) => {
    console.log("a refusal:", error.name, error.message);
    return error.message.includes("best") || JSON.stringify(error).includes("best");
  },
);
