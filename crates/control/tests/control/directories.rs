//! Where the directories of a sandbox are.

use serde_json::json;
use wire::guest::{Done, Request, Whoami};

use crate::support::{Lab, Say};

#[tokio::test]
async fn home_and_workdir_are_what_the_agent_says() {
    let lab = Lab::start().await;
    let id = lab.sandbox().await;
    let whoami = Whoami {
        user: "user".into(),
        uid: 1000,
        gid: 1000,
        home: "/home/user".into(),
        workdir: "/workspace".into(),
    };
    lab.node.say([Say::End(Ok(Done::Whoami(whoami)))]);
    let home = lab.get(&format!("/v1/sandbox/{id}/system/user-home-dir")).await.expect(200).json();
    assert_eq!(home, json!({"user_home_dir": "/home/user"}));
    let workdir = lab.get(&format!("/v1/sandbox/{id}/system/workdir")).await.expect(200).json();
    assert_eq!(workdir, json!({"workdir": "/workspace"}));
    assert_eq!(*lab.node.inner.requests.lock().unwrap(), [Request::Whoami, Request::Whoami]);

    lab.delete(&format!("/v1/sandbox/{id}")).await.expect(204);
    for name in ["user-home-dir", "workdir"] {
        let answer = lab.get(&format!("/v1/sandbox/{id}/system/{name}")).await.expect(404);
        assert_eq!(answer.code(), "sandbox_deleted");
    }
}
