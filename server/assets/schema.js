// What an OpenAPI 3.1 document says of a value: its type in words, its fields, an example.

/** Deeper than any value of an API; ends the walk through a schema that holds itself. */
const DEEPEST = 12;

/** The schemas of a document. */
export class Schemas {
  constructor(document) {
    this.document = document;
  }

  /** What a reference stands for, with what is said beside it. */
  resolve(schema) {
    if (typeof schema !== "object" || schema === null) return {};
    if (schema.$ref === undefined) return schema;
    const { $ref, ...beside } = schema;
    const steps = $ref.split("/").slice(1);
    const name = (step) => decodeURIComponent(step).replaceAll("~1", "/").replaceAll("~0", "~");
    const target = steps.reduce((place, step) => place?.[name(step)], this.document);
    return { ...this.resolve(target), ...beside };
  }

  /** The schema with every `allOf` part folded in. */
  whole(schema) {
    const { allOf, ...own } = this.resolve(schema);
    if (allOf === undefined) return own;
    return allOf
      .map((part) => this.whole(part))
      .reduce((all, part) => ({
        ...part,
        ...all,
        properties: { ...part.properties, ...all.properties },
        required: [...(part.required ?? []), ...(all.required ?? [])],
      }), own);
  }

  /** The schemas of which a value has one, `null` left out. */
  choices(schema) {
    const { oneOf, anyOf } = this.resolve(schema);
    return (oneOf ?? anyOf ?? []).filter((choice) => this.resolve(choice).type !== "null");
  }

  /** The type in a few words, such as `list of string or null`. */
  type(schema, depth = 0) {
    if (depth > DEEPEST) return "…";
    const whole = this.whole(schema);
    const { oneOf, anyOf } = whole;
    if (oneOf ?? anyOf) return [...new Set((oneOf ?? anyOf).map((choice) => this.type(choice, depth + 1)))].join(" or ");
    if (whole.const !== undefined) return JSON.stringify(whole.const);
    const types = [whole.type ?? (whole.properties ? "object" : "anything")].flat();
    return types
      .map((type) => (type === "array" ? `list of ${this.type(whole.items ?? whole.prefixItems?.[0], depth + 1)}` : type))
      .join(" or ");
  }

  /** What a value must keep to beside its type. */
  limits(schema) {
    const whole = this.whole(schema);
    const choices = this.choices(schema);
    const only = choices.length === 1 ? this.whole(choices[0]) : whole;
    const said = [];
    if (only.enum) said.push(`one of ${only.enum.map((value) => JSON.stringify(value)).join(", ")}`);
    const names = {
      minimum: "at least",
      maximum: "at most",
      exclusiveMinimum: "more than",
      exclusiveMaximum: "less than",
      minLength: "length at least",
      maxLength: "length at most",
      minItems: "items at least",
      maxItems: "items at most",
      pattern: "like",
      default: "by default",
    };
    for (const [key, words] of Object.entries(names)) {
      if (only[key] !== undefined && only[key] !== null) said.push(`${words} ${JSON.stringify(only[key])}`);
    }
    return said.join("; ");
  }

  /** The fields of a value, of a list's items, or of each alternative: groups of `{title, fields}`. */
  groups(schema) {
    const whole = this.whole(schema);
    const choices = this.choices(schema);
    if (choices.length > 0) {
      return choices.flatMap((choice) => {
        const title = choices.length > 1 ? (this.resolve(choice).description ?? this.type(choice)) : undefined;
        const groups = this.groups(choice);
        return groups.map((group) => ({ ...group, title: group.title ?? title }));
      });
    }
    if (whole.items) return this.groups(whole.items);
    if (whole.properties === undefined) return [];
    const required = new Set(whole.required);
    const fields = Object.entries(whole.properties).map(([name, schema]) => ({
      name,
      schema,
      required: required.has(name),
    }));
    return [{ fields }];
  }

  /** A value such as the schema allows: its own example, or one made of its fields'. */
  example(schema, depth = 0) {
    const whole = this.whole(schema);
    const given = whole.example ?? whole.examples?.[0] ?? whole.const ?? whole.default ?? whole.enum?.[0];
    if (given !== undefined) return given;
    if (depth > DEEPEST) return null;
    const [choice] = this.choices(schema);
    if (choice) return this.example(choice, depth + 1);
    const [type] = [whole.type].flat().filter((type) => type !== "null");
    if (type === "array") return [this.example(whole.items ?? whole.prefixItems?.[0], depth + 1)];
    if (whole.properties) {
      const required = new Set(whole.required);
      const fields = Object.entries(whole.properties).filter(([name]) => required.has(name));
      return Object.fromEntries(fields.map(([name, field]) => [name, this.example(field, depth + 1)]));
    }
    return { string: "text", integer: whole.minimum ?? 0, number: whole.minimum ?? 0, boolean: true, object: {} }[type] ?? null;
  }
}
