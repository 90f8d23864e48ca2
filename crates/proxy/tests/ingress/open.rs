//! Who gets in without a key: by a presigned URL, and to ports that their owner opened.

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};

use crate::support::{KEY, Stand, app, host, plain_app, sandbox};

fn asked(host: &str, path: &str, headers: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let request = Request::builder().uri(path).header("host", host);
    let add = |request: http::request::Builder, (name, value): &(&str, &str)| request.header(*name, *value);
    headers.iter().fold(request, add).body(Full::default()).unwrap()
}

async fn status(stand: &Stand, request: Request<Full<Bytes>>) -> u16 {
    stand.client().await.send_request(request).await.unwrap().status().as_u16()
}

/// Every word of a head.
fn said(headers: &HeaderMap) -> String {
    format!("{headers:?}").to_lowercase()
}

#[tokio::test]
async fn a_token_opens_one_port_and_the_app_never_hears_it() {
    let stand = Stand::new().await;
    let (port, mut seen) = app(|seen| {
        let home = format!("https://{}/home", seen.headers["host"].to_str().unwrap());
        Response::builder().header("location", home).body(Full::from("ok").boxed_unsync()).unwrap()
    })
    .await;
    let token = stand.book.sign(port);
    let name = format!("{token}.sandbox.localhost:7443");
    let page = format!("https://{name}/page?{token}");
    for (host, path) in [(name.as_str(), "/a"), ("127.0.0.1", &format!("/v1/presigned/{token}/a"))] {
        let headers =
            [("authorization", "Bearer app"), ("origin", &page), ("referer", &page), ("x-any", &token)];
        let answer = stand.client().await.send_request(asked(host, path, &headers)).await.unwrap();
        assert_eq!(answer.status(), 200, "{host}");
        let home = answer.headers()["location"].to_str().unwrap();
        assert_eq!(home, format!("https://{host}/home"), "the client is led to where it is let in");
        let seen = seen.recv().await.unwrap();
        assert_eq!(
            (seen.path.as_str(), &seen.headers["authorization"]),
            ("/a", &"Bearer app".parse().unwrap())
        );
        assert!(!said(&seen.headers).contains("url-"), "{:?}", seen.headers);
    }
    assert_eq!(status(&stand, asked(&name.to_uppercase(), "/", &[])).await, 200);
    let told = seen.recv().await.unwrap().headers;
    let place = format!("{}-{port}", sandbox());
    assert!(said(&told).contains(&place) && !said(&told).contains("url-"), "{told:?}");
    stand.stop().await;
}

#[tokio::test]
async fn a_token_that_is_none_opens_nothing_and_a_key_does_not_help() {
    let stand = Stand::new().await;
    let (port, mut seen) = plain_app().await;
    let token = stand.book.sign(port);
    let wrong = token.replace('h', "j");
    let key = [("leap0-authorization", KEY), ("authorization", KEY)];
    for label in [&wrong, &token[..token.len() - 1], &format!("{token}-{port}"), &format!("www.{token}")] {
        let host = format!("{label}.sandbox.localhost");
        assert_eq!(status(&stand, asked(&host, "/", &key)).await, 404, "{label}");
    }
    for path in [format!("/v1/presigned/{wrong}/"), format!("/v1/presigned/%75{}/", &token[1..])] {
        assert_eq!(status(&stand, asked("127.0.0.1", &path, &key)).await, 404, "{path}");
    }
    assert!(seen.try_recv().is_err(), "the app heard of it");
    stand.stop().await;
}

#[tokio::test]
async fn an_open_port_needs_no_key_and_its_app_has_an_authorization_of_its_own() {
    let stand = Stand::new().await;
    let (port, mut seen) = plain_app().await;
    let (closed, _) = plain_app().await;
    stand.book.open(port);
    let key = format!("atoll_{}", "0".repeat(64));
    for (sent, left) in
        [(None, None), (Some("Bearer app"), Some("Bearer app")), (Some(KEY), None), (Some(&key), None)]
    {
        let headers: Vec<_> = sent.iter().map(|value| ("authorization", *value)).collect();
        assert_eq!(status(&stand, asked(&host(port), "/", &headers)).await, 200, "{sent:?}");
        let seen = seen.recv().await.unwrap();
        let heard = seen.headers.get("authorization").map(|value| value.to_str().unwrap());
        assert_eq!(heard, left, "{sent:?}");
        assert_eq!(seen.headers["host"], host(port));
    }
    assert_eq!(status(&stand, asked(&host(closed), "/", &[("authorization", "Bearer app")])).await, 401);
    let websocket = [("connection", "upgrade"), ("upgrade", "websocket"), ("sec-websocket-key", "a2V5")];
    assert_eq!(status(&stand, asked(&host(closed), "/", &websocket)).await, 401);
    assert_eq!(
        status(&stand, asked(&host(port), "/", &websocket)).await,
        200,
        "it is passed on, and the app declines"
    );
    stand.stop().await;
}
