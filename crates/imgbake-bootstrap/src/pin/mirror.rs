//! A mirror on 127.0.0.1 that does as it is asked, however wrong.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What it says to one request.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    /// This text.
    Text(String),
    /// This text, though twice as much was promised.
    Half(String),
    /// There is no such file.
    Missing,
    /// Bytes without an end.
    Endless,
    /// Nothing, and the connection stays open.
    Silence,
}

/// The mirror; it goes with the test's runtime.
pub(super) struct Mirror {
    pub(super) port: u16,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Mirror {
    /// Answers by a request's path.
    pub(super) async fn start(answer: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (seen.clone(), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, log.clone(), answer.clone()));
            }
        });
        Self { port, seen }
    }

    /// The archive's address.
    pub(super) fn address(&self) -> String {
        format!("http://127.0.0.1:{}/debian", self.port)
    }

    /// The requests so far, with their headers.
    pub(super) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve<F: Fn(&str) -> Reply>(
    mut stream: TcpStream,
    log: Arc<Mutex<Vec<String>>>,
    answer: Arc<F>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    log.lock().unwrap().push(head);
    let head = |status: &str, length: usize| {
        format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n")
    };
    let sent = match answer(&path) {
        Reply::Text(text) => head("200 OK", text.len()) + &text,
        Reply::Half(text) => head("200 OK", text.len() * 2) + &text,
        Reply::Missing => head("404 Not Found", 0),
        Reply::Endless => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
        Reply::Silence => String::new(),
    };
    // A client that has gone away is no matter.
    let _ = stream.write_all(sent.as_bytes()).await;
    match answer(&path) {
        Reply::Endless => {
            let chunk = format!("1000\r\n{}\r\n", "x".repeat(4096));
            while stream.write_all(chunk.as_bytes()).await.is_ok() {}
        }
        Reply::Silence => {
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
        _ => {
            let _ = stream.shutdown().await;
        }
    }
}
