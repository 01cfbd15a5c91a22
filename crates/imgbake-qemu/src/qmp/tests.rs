//! QMP against a server in this process, well behaved and not.

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream};

use super::*;

const GREETING: &str = r#"{"QMP": {"version": {"qemu": {"micro": 2, "minor": 0, "major": 10}}, "capabilities": ["oob"]}}"#;

/// A server that sends the greeting, then for each line that comes in what `answer` makes of its id.
fn serve(mut answer: impl FnMut(u64, &Value) -> Option<String> + Send + 'static) -> DuplexStream {
    let (near, far) = tokio::io::duplex(64 * 1024);
    tokio::spawn(async move {
        let (read, mut write) = tokio::io::split(far);
        let mut lines = BufReader::new(read).lines();
        write.write_all(format!("{GREETING}\r\n").as_bytes()).await.unwrap();
        while let Ok(Some(line)) = lines.next_line().await {
            let command: Value = serde_json::from_str(&line).unwrap();
            let id = command["id"].as_u64().unwrap();
            let Some(text) = answer(id, &command) else { break };
            if write.write_all(text.as_bytes()).await.is_err() {
                break;
            }
        }
    });
    near
}

fn ok(id: u64) -> String {
    format!("{{\"return\": {{}}, \"id\": {id}}}\r\n")
}

#[tokio::test]
async fn commands_answers_and_events() {
    let server = serve(|id, command| {
        Some(match command["execute"].as_str().unwrap() {
            "human-monitor-command" => format!("{{\"return\": \"a text\", \"id\": {id}}}\n"),
            "refused" => format!(
                "{{\"error\": {{\"class\": \"GenericError\", \"desc\": \"no\"}}, \"id\": {id}}}\n"
            ),
            "cont" => format!(
                "\n{{\"event\": \"RESUME\", \"timestamp\": {{\"seconds\": 1, \"microseconds\": 2}}}}\n{}",
                ok(id)
            ),
            _ => ok(id),
        })
    });
    let (qmp, mut events) = Qmp::connect(server).await.unwrap();
    assert_eq!(qmp.execute("cont", json!({})).await, Ok(json!({})));
    assert_eq!(events.recv().await, Some(QmpEvent { name: "RESUME".into(), data: Value::Null }));
    assert_eq!(qmp.human("info usernet").await.unwrap(), "a text");
    let refused = qmp.execute("refused", json!({})).await.unwrap_err();
    assert_eq!(refused.to_string(), "QEMU refused `refused`: no");
}

#[tokio::test]
async fn answers_out_of_order_find_their_commands() {
    let mut held = None;
    let server = serve(move |id, command| {
        Some(match command["execute"].as_str().unwrap() {
            "first" => {
                held = Some(id);
                String::new()
            }
            "second" => format!(
                "{{\"return\": 2, \"id\": {id}}}\n{{\"return\": 9, \"id\": 77}}\n{{\"return\": 1, \"id\": {}}}\n",
                held.unwrap()
            ),
            _ => ok(id),
        })
    });
    let (qmp, _events) = Qmp::connect(server).await.unwrap();
    let (first, second) =
        tokio::join!(qmp.execute("first", json!({})), qmp.execute("second", json!({})));
    assert_eq!((first, second), (Ok(json!(1)), Ok(json!(2))));
}

#[tokio::test]
async fn an_end_wakes_whoever_waits() {
    let server = serve(|id, command| (command["execute"] != "quit").then(|| ok(id)));
    let (qmp, mut events) = Qmp::connect(server).await.unwrap();
    assert_eq!(qmp.execute("quit", json!({})).await, Err(QmpError::Disconnected));
    assert_eq!(events.recv().await, None);
    assert_eq!(qmp.execute("query-status", json!({})).await, Err(QmpError::Disconnected));
}

#[tokio::test]
async fn garbage_ends_the_connection() {
    let long = usize::try_from(LONGEST_LINE).unwrap() + 10;
    for garbage in
        ["not json\n".to_owned(), "[1, 2]\n".into(), "\u{fffd}\0\n".into(), "x".repeat(long)]
    {
        let server = serve(move |id, command| {
            Some(if command["execute"] == "qmp_capabilities" { ok(id) } else { garbage.clone() })
        });
        let (qmp, mut events) = Qmp::connect(server).await.unwrap();
        assert_eq!(qmp.execute("cont", json!({})).await, Err(QmpError::Disconnected));
        assert_eq!(events.recv().await, None);
    }
}

#[tokio::test]
async fn what_does_not_greet_is_no_qemu() {
    for first in ["SSH-2.0-x\r\n", "{\"return\": {}}\n", ""] {
        let (near, mut far) = tokio::io::duplex(1024);
        far.write_all(first.as_bytes()).await.unwrap();
        drop(far);
        assert!(Qmp::connect(near).await.is_err(), "{first:?}");
    }
}
