//! Files in a sandbox.

use serde_json::json;
use wire::public::file::ReadFile;
use wire::public::schema::{Mode, Path};

use super::Noun;
use super::failures::INSIDE;
use super::operation::{Operation, post};
use super::sandboxes::of_one;

pub fn noun() -> Noun {
    Noun {
        tag: "Files",
        text: "Files of a sandbox, read and written as the sandbox's user. Relative paths begin at the template's working directory.",
        operations: vec![write_file(), read_file()],
    }
}

fn write_file() -> Operation {
    of_one(post("/v1/sandbox/{sandbox_id}/filesystem/write-file", "write_file", "Write a file"))
        .says("The body is the file. It appears whole or not at all; directories that are missing are made.")
        .in_query_always::<Path>("path", "Where to write it.", "/workspace/hello.txt")
        .in_query::<Mode>("permissions", "Its permission bits, in octal. Absent: those it has, or 644.")
        .takes_raw(false, "application/octet-stream", |_| json!({ "type": "string", "format": "binary" }))
        .answers_nothing(204, "It is written.")
        .fails(INSIDE)
}

fn read_file() -> Operation {
    let example = ReadFile { path: "/workspace/hello.txt".into(), ..ReadFile::default() };
    of_one(post("/v1/sandbox/{sandbox_id}/filesystem/read-file", "read_file", "Read a file"))
        .says("All of it, a range of its bytes (`offset`, `limit`), or its first or last lines (`head`, `tail`). The answer breaks off if the file cannot be read to its end.")
        .takes(&example)
        .answers_raw(200, "The bytes.", "application/octet-stream", |_| json!({ "type": "string", "format": "binary" }))
        .fails(INSIDE)
}
