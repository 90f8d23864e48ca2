//! Who reaches the ports of a sandbox.

use wire::public::presigned::{CreatePresignedUrl, CreatedPresignedUrl, PresignedUrl, PresignedUrlList};
use wire::public::sandbox::PublicPorts;
use wire::token::{SUFFIX_CHARS, Token};

use super::Noun;
use super::examples::{CREATED_AT, presigned_url_id, sandbox_id};
use super::failures::Failure::*;
use super::operation::{Operation, delete, get, post, put};
use super::sandboxes::of_one;

/// An hour after [`CREATED_AT`].
const EXPIRES_AT: &str = "2026-01-15T10:30:00Z";

pub fn noun() -> Noun {
    Noun {
        tag: "Ports",
        text: "What listens in a sandbox is reached through the ingress, at `https://<sandbox>-<port>.<domain>`, with a key of the sandbox's team. These let others in.",
        operations: vec![create(), list(), revoke(), public(), open()],
    }
}

fn presigned_url() -> PresignedUrl {
    PresignedUrl {
        id: presigned_url_id(),
        sandbox_id: sandbox_id(),
        port: 8080,
        expires_at: EXPIRES_AT.into(),
        created_at: CREATED_AT.into(),
    }
}

fn create() -> Operation {
    let token = String::from(Token::from_entropy([22; SUFFIX_CHARS]));
    let url = format!("https://{token}.sandbox.example");
    let created = CreatedPresignedUrl { token, url, shown: presigned_url() };
    of_one(post("/v1/sandbox/{sandbox_id}/presigned-url", "create_presigned_url", "Make a presigned URL"))
        .says("It opens one port to whoever has it, without a key, until it expires, is deleted, or the sandbox is. A sandbox that is paused stays so, and wakes when the URL is used.")
        .says("The token is shown in this answer and is kept nowhere; no app in the sandbox ever sees it. Where names do not resolve, `/v1/presigned/<token>/…` at the address of the ingress leads to the same. A sandbox has at most 100 URLs that have not expired.")
        .takes(&CreatePresignedUrl { port: 8080, expires_in: Some(3600) })
        .answers(201, "It is made.", &created)
        .fails(&[NotFound, Conflict])
}

fn list() -> Operation {
    of_one(get("/v1/sandbox/{sandbox_id}/presigned-urls", "list_presigned_urls", "List presigned URLs"))
        .says("Those that have not expired, without what opens.")
        .answers(
            200,
            "All of them, oldest first.",
            &PresignedUrlList { items: vec![presigned_url()], total_items: 1 },
        )
        .fails(&[NotFound])
}

fn revoke() -> Operation {
    let path = "/v1/sandbox/{sandbox_id}/presigned-url/{url_id}";
    of_one(delete(path, "delete_presigned_url", "Take back a presigned URL"))
        .says("From the next request on it opens nothing; what is under way is cut within two seconds.")
        .in_path("url_id", "The URL's id.", &presigned_url_id())
        .answers_nothing(204, "It opens nothing any more.")
        .fails(&[NotFound])
}

fn public() -> Operation {
    of_one(get(
        "/v1/sandbox/{sandbox_id}/public-ports",
        "get_public_ports",
        "Which ports are open to whoever asks",
    ))
    .answers(200, "Those that are.", &PublicPorts { ports: vec![8080] })
    .fails(&[NotFound])
}

fn open() -> Operation {
    of_one(put("/v1/sandbox/{sandbox_id}/public-ports", "set_public_ports", "Open ports to whoever asks"))
        .says("From the next request on these need no key, and all others do. What an app's clients send as `authorization` is the app's own then, unless it is a key of the sandbox's team. Requests to them wake a paused sandbox.")
        .takes(&PublicPorts { ports: vec![8080] })
        .answers(200, "They are open, and no others.", &PublicPorts { ports: vec![8080] })
        .fails(&[NotFound, Conflict])
}
