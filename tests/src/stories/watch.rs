//! Directories that are watched.

use std::cell::RefCell;
use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};
use testkit::lab::{Builder, Lab, eventually};

use super::sse::Events;
use super::{execute, many, run, sandbox, write};

/// Watches one sandbox has at once.
const WATCHES_MAX: usize = wire::guest::watch::WATCHES_MAX;

fn path(id: &str) -> String {
    format!("/v1/sandbox/{id}/filesystem/watch")
}

/// A watch that stands.
async fn watch(lab: &Lab, id: &str, body: Value) -> Events {
    let mut events = Events::open(lab, Method::POST, &path(id), &[], body).await;
    assert_eq!(events.next().await.unwrap(), json!({ "seq": 0, "type": "ready" }));
    events
}

/// What is heard until a file of this name is closed by who wrote it, without the numbers.
async fn until(events: &mut Events, mark: &str) -> Vec<Value> {
    let mut heard = Vec::new();
    loop {
        let mut event = events.next().await.expect("the watch ended");
        event.as_object_mut().unwrap().remove("seq");
        if event["type"] == "written" && event["path"].as_str().unwrap().ends_with(mark) {
            return heard;
        }
        let is_of_mark = event["path"].as_str().is_some_and(|path| path.ends_with(mark));
        if !is_of_mark {
            heard.push(event);
        }
    }
}

/// Paths of events of a kind, in order.
fn paths<'a>(events: &'a [Value], kind: &str) -> Vec<&'a str> {
    events.iter().filter(|event| event["type"] == kind).map(|event| event["path"].as_str().unwrap()).collect()
}

pub async fn what_happens_in_a_directory_is_heard_in_order(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    run(&lab, &id, "mkdir d").await;
    let mut events = watch(&lab, &id, json!({ "path": "d", "exclude": ["*.o"] })).await;
    let script = "cd d && echo one > a && echo two >> a && chmod 600 a && mkdir b && echo x > c.o && mv a b2 \
                  && mv b2 b/a";
    assert_eq!(run(&lab, &id, script).await["exit_code"], 0);
    let at = |name: &str| format!("/workspace/d/{name}");
    let last = json!({ "type": "deleted", "path": at("b2"), "is_dir": false });
    let mut heard = Vec::new();
    // What left the watch is known to have left it a moment later.
    while heard.last() != Some(&last) {
        let mut event = events.next().await.expect("the watch ended");
        event.as_object_mut().unwrap().remove("seq");
        heard.push(event);
    }
    // How often a write is told is the kernel's business.
    heard.dedup_by(|one, other| one == other && one["type"] == "modified");
    let expect = json!([
        { "type": "created", "path": at("a"), "is_dir": false },
        { "type": "modified", "path": at("a") },
        { "type": "written", "path": at("a") },
        { "type": "modified", "path": at("a") },
        { "type": "written", "path": at("a") },
        { "type": "attributes", "path": at("a"), "is_dir": false },
        { "type": "created", "path": at("b"), "is_dir": true },
        { "type": "moved", "from": at("a"), "to": at("b2"), "is_dir": false },
        last,
    ]);
    assert_eq!(Value::from(heard), expect);
    run(&lab, &id, "cd d; rm b/a; rmdir b; echo > mark").await;
    let heard = until(&mut events, "mark").await;
    assert_eq!(heard, [json!({ "type": "deleted", "path": at("b"), "is_dir": true })]);
    lab.end().await;
}

pub async fn new_directories_are_heard_however_deep(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    run(&lab, &id, "mkdir -p d/old/er").await;
    let mut events =
        watch(&lab, &id, json!({ "path": "d", "recursive": true, "exclude": ["left-out"] })).await;
    let count = many(40);
    let script = format!(
        "cd d; for i in $(seq {count}); do mkdir -p $i/b/c/d; echo > $i/b/c/d/file; done; \
         mkdir -p left-out/x; echo > left-out/x/y; mkdir old/er/new; mv old/er/new moved; echo > moved/inside; \
         echo > old/er/mark"
    );
    assert_eq!(run(&lab, &id, &script).await["exit_code"], 0);
    let heard = until(&mut events, "mark").await;
    let created: BTreeSet<&str> = paths(&heard, "created").into_iter().collect();
    let mut expect: BTreeSet<String> = (1..=count)
        .flat_map(|tree| {
            ["", "/b", "/b/c", "/b/c/d", "/b/c/d/file"].map(|below| format!("/workspace/d/{tree}{below}"))
        })
        .collect();
    expect.extend(["/workspace/d/old/er/new".to_owned(), "/workspace/d/moved/inside".to_owned()]);
    assert_eq!(created, expect.iter().map(String::as_str).collect());
    let moved = json!({
        "type": "moved", "from": "/workspace/d/old/er/new", "to": "/workspace/d/moved", "is_dir": true,
    });
    assert!(heard.contains(&moved), "{heard:?}");
    lab.end().await;
}

pub async fn a_listener_that_stalls_is_told_to_look_again(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    run(&lab, &id, "mkdir d").await;
    let mut stalled = watch(&lab, &id, json!({ "path": "d" })).await;
    let mut quick = watch(&lab, &id, json!({ "path": "d" })).await;
    // Far more than lies in all the buffers on the way, the kernel's of the connection included.
    let (rounds, files) = (7, 3000);
    let script = format!(
        "cd d; name=$(printf %0200d 0); for i in $(seq {rounds}); do \
         seq {files} | sed \"s/^/$i-$name-/\" | xargs touch && ls -U | xargs rm; done"
    );
    let making = async {
        assert_eq!(run(&lab, &id, &script).await["exit_code"], 0);
        // Again and again: the first may be among what was too much.
        loop {
            run(&lab, &id, "echo > d/mark").await;
        }
    };
    // Whoever keeps listening either hears it all, or is told of what it missed.
    let heard = tokio::select! {
        heard = until(&mut quick, "mark") => heard,
        () = making => Vec::new(),
    };
    let is_told = paths(&heard, "created").len() == rounds * files
        || heard.iter().any(|event| event["type"] == "rescan");
    assert!(is_told, "{} events, and no word of others", heard.len());
    let mut numbers = 1..;
    loop {
        let event = stalled.next().await.expect("the watch goes on");
        assert_eq!(event["seq"], numbers.next().unwrap());
        if event["type"] == "rescan" {
            break;
        }
        assert!(!event["path"].as_str().unwrap().ends_with("mark"), "all of it was heard");
    }
    // Again and again, here too: a listener that is still behind may be told to look once more instead.
    let writing = async {
        loop {
            write(&lab, &id, "d/after", "").await.expect(204);
        }
    };
    tokio::select! {
        () = until_moved(&mut stalled, "/workspace/d/after") => {}
        () = writing => {}
    }
    lab.end().await;
}

/// A watch of `d`, if there is room for one.
async fn try_watch(lab: &Lab, id: &str) -> Option<Events> {
    let headers = [("content-type", "application/json")];
    let answer = lab.api.open(Method::POST, &path(id), &headers, r#"{"path": "d"}"#.into()).await;
    (answer.status() == 200).then(|| Events::of(answer.into_body()))
}

pub async fn whoever_lost_a_connection_watches_again(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    run(&lab, &id, "mkdir d").await;
    let opened = RefCell::new(Vec::new());
    // Each that is lost gives its place back.
    for turn in 0..2 * WATCHES_MAX {
        eventually("there is room for a watch", async || match try_watch(&lab, &id).await {
            Some(events) => {
                opened.borrow_mut().push(events);
                true
            }
            None => false,
        })
        .await;
        let mut events = opened.borrow_mut().pop().unwrap();
        assert_eq!(events.next().await.unwrap()["type"], "ready");
        let file = format!("d/{turn}");
        write(&lab, &id, &file, "").await.expect(204);
        until_moved(&mut events, &format!("/workspace/{file}")).await;
    }
    // All at once, and not one more.
    eventually("as many stand as may", async || {
        let one = try_watch(&lab, &id).await;
        opened.borrow_mut().extend(one);
        opened.borrow().len() == WATCHES_MAX
    })
    .await;
    let refused = lab.api.post(&path(&id), json!({ "path": "d" })).await.expect(409).json();
    assert_eq!(refused["code"], "too_many", "{refused}");
    // They hold nobody else up.
    assert_eq!(run(&lab, &id, "ls d | wc -l").await["stdout"], format!("{}\n", 2 * WATCHES_MAX));
    drop(opened);
    lab.end().await;
}

/// Hears a file that is written over the API: it is renamed into its place.
async fn until_moved(events: &mut Events, path: &str) {
    loop {
        let event = events.next().await.expect("the watch ended");
        if event["type"] == "moved" && event["to"] == path {
            return;
        }
    }
}

pub async fn what_cannot_be_watched_is_a_plain_refusal(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    run(&lab, &id, "mkdir closed real; chmod 000 closed; echo > file; ln -s real link; ln -s /gone broken")
        .await;
    for (body, status, code) in [
        (json!({ "path": "none" }), 404, "file_not_found"),
        (json!({ "path": "broken" }), 404, "file_not_found"),
        (json!({ "path": "file" }), 400, "not_a_directory"),
        (json!({ "path": "closed" }), 403, "permission_denied"),
        (json!({ "path": "real", "exclude": ["["] }), 400, "invalid"),
        (json!({ "recursive": true }), 400, "invalid_fields"),
    ] {
        let refused = lab.api.post(&path(&id), body.clone()).await.expect(status).json();
        assert_eq!(refused["code"], code, "{body}: {refused}");
    }
    let mut events = watch(&lab, &id, json!({ "path": "link" })).await;
    assert_eq!(run(&lab, &id, "mkdir real/x").await["exit_code"], 0);
    let created = json!({ "seq": 1, "type": "created", "path": "/workspace/link/x", "is_dir": true });
    assert_eq!(events.next().await.unwrap(), created);
    lab.end().await;
}

pub async fn a_watch_ends_with_its_directory_or_its_sandbox(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    for end in ["rm -r d", "mv d elsewhere"] {
        run(&lab, &id, "mkdir -p d/sub").await;
        let events = watch(&lab, &id, json!({ "path": "d", "recursive": true })).await;
        assert_eq!(run(&lab, &id, end).await["exit_code"], 0);
        let rest = events.rest().await;
        assert_eq!(rest.last().unwrap()["type"], "gone", "{rest:?}");
    }
    let events = watch(&lab, &id, json!({ "path": "/workspace" })).await;
    lab.api.delete(&format!("/v1/sandbox/{id}")).await.expect(204);
    let rest = events.rest().await;
    assert_eq!((rest.len(), &rest[0]["type"]), (1, &json!("error")), "{rest:?}");
    let code = rest[0]["code"].as_str().unwrap();
    assert!(["sandbox_deleting", "sandbox_deleted"].contains(&code), "{rest:?}");
    let late = execute(&lab, &id, json!({ "command": "true" })).await;
    assert!(!late.status.is_success());
    lab.end().await;
}
