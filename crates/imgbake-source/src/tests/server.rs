//! A server that does as it is asked, however wrong.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A request as it came.
#[derive(Debug, Clone)]
pub(super) struct Request {
    /// How many came before it.
    pub(super) number: usize,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: HashMap<String, String>,
}

impl Request {
    /// The first byte that a Range header asks for.
    pub(super) fn first(&self) -> Option<usize> {
        self.headers.get("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

/// An answer, as bytes: head, then body; then the connection is cut.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    sent: usize,
    hang: bool,
}

impl Reply {
    pub(super) fn new(status: u16, body: &[u8]) -> Self {
        let length = ("content-length".to_owned(), body.len().to_string());
        Self { status, headers: vec![length], body: body.to_vec(), sent: usize::MAX, hang: false }
    }

    /// Honours the request's Range.
    pub(super) fn ranged(request: &Request, body: &[u8]) -> Self {
        match request.first() {
            Some(first) if first < body.len() => Self::new(206, &body[first..]).header(
                "content-range",
                &format!("bytes {first}-{}/{}", body.len() - 1, body.len()),
            ),
            Some(_) => {
                Self::new(416, b"").header("content-range", &format!("bytes */{}", body.len()))
            }
            None => Self::new(200, body),
        }
    }

    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Leaves a header out.
    pub(super) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self
    }

    /// Sends nothing at all, not even a head.
    pub(super) fn cut_head(mut self) -> Self {
        self.status = 0;
        self.cut(0)
    }

    /// Sends that many bytes of the body and no more.
    pub(super) fn cut(mut self, bytes: usize) -> Self {
        self.sent = bytes;
        self
    }

    /// Leaves the connection open and silent.
    pub(super) fn hang(mut self) -> Self {
        self.hang = true;
        self
    }
}

/// The server; it goes with the test's runtime.
pub(super) struct Server {
    pub(super) base: String,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub(super) async fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (seen.clone(), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, log.clone(), answer.clone()));
            }
        });
        Self { base, seen }
    }

    /// A server with one file that knows ranges.
    pub(super) async fn of(body: Vec<u8>) -> Self {
        Self::start(move |request| Reply::ranged(request, &body)).await
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub(super) fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve<F: Fn(&Request) -> Reply>(
    mut stream: TcpStream,
    log: Arc<Mutex<Vec<Request>>>,
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
    let mut words = head.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let pair = |line: &str| line.split_once(": ").map(|(k, v)| (k.to_lowercase(), v.to_owned()));
    let headers = head.lines().skip(1).filter_map(pair).collect();
    let request = {
        let mut log = log.lock().unwrap();
        let request = Request { number: log.len(), method, path, headers };
        log.push(request.clone());
        request
    };
    let reply = answer(&request);
    let mut out = format!("HTTP/1.1 {} X\r\nconnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        out.push_str(&[name, ": ", value, "\r\n"].concat());
    }
    out.push_str("\r\n");
    let body = &reply.body[..reply.body.len().min(reply.sent)];
    let sent = async {
        if reply.status != 0 {
            stream.write_all(out.as_bytes()).await?;
        }
        stream.write_all(body).await?;
        stream.flush().await?;
        if reply.hang {
            stream.read_to_end(&mut Vec::new()).await?;
        }
        stream.shutdown().await
    };
    let _ = sent.await;
}
