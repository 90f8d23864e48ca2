// A program that was written against the generated types. It is compiled, not run.

import type { components, operations, paths } from "./api";

type Event = components["schemas"]["ProcessEvent"];
type Created = operations["create_sandbox"]["responses"][201]["content"]["application/json"];
type Refused = operations["create_sandbox"]["responses"][400]["content"]["application/json"];

export const body: NonNullable<paths["/v1/sandbox"]["post"]["requestBody"]>["content"]["application/json"] = {
  vcpu: 2,
  memory: 2048,
  env_vars: { LANG: "C.UTF-8" },
};

// @ts-expect-error: a number is no text
export const wrong: typeof body = { vcpu: "2" };

// What a stream says is told apart by its type.
export function text(event: Event): string {
  switch (event.type) {
    case "stdout":
    case "stderr":
      return atobLength(event.data).toString();
    case "exit":
      return `exit ${event.exit_code}`;
    case "error":
      return event.message;
    default:
      return event.type;
  }
}

function atobLength(base64: string): number {
  return Math.floor((base64.length * 3) / 4);
}

export function names(answer: Created | Refused): string[] {
  return "id" in answer ? [answer.id] : (answer.errors ?? []).map((error) => error.field);
}
