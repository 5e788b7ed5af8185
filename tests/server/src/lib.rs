//! An HTTP server on loopback that misbehaves as it is told.
//!
//! It answers one connection after the other with what a closure gives, and ends with the value.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Bytes of a body that is called endless.
const ENDLESS: u64 = 10_000_000_000;

/// A request, as far as a test looks at it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// GET or POST.
    pub method: String,
    /// Path and query; all of the URL where a proxy is asked.
    pub path: String,
    /// Header lines with names in small letters.
    pub headers: Vec<String>,
    /// What was sent along.
    pub body: String,
}

impl Asked {
    /// A header by its name in small letters.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// A parameter of the query, as it was sent.
    pub fn query(&self, name: &str) -> Option<&str> {
        let (_, query) = self.path.split_once('?')?;
        query
            .split('&')
            .find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
    }
}

/// What a server does with a request.
#[derive(Debug)]
pub enum Reply {
    /// Status, header lines, body; the length is right.
    Whole(u16, Vec<String>, Vec<u8>),
    /// Bytes as they are, then the end of the connection.
    Bytes(Vec<u8>),
    /// Nothing, until the server ends.
    Silence,
    /// A body that comes byte by byte and would go on for long.
    Trickle,
    /// A head that comes byte by byte and would go on for long.
    SlowHead,
    /// A body without an end, as fast as it goes, behind header lines of its own.
    Endless(Vec<String>),
}

impl Reply {
    /// Status 200 and a body.
    pub fn ok(body: &str) -> Self {
        Self::Whole(200, Vec::new(), body.into())
    }
}

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves with a closure that gets the number of the request, from 0.
    pub fn new(reply: impl Fn(usize, &Asked) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, ending) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let thread = std::thread::spawn({
            let (asked, ending) = (Arc::clone(&asked), Arc::clone(&ending));
            move || serve(&listener, &asked, &ending, &reply)
        });
        Self {
            address,
            asked,
            ending,
            thread: Some(thread),
        }
    }

    /// The address of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What was asked until now.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        // Wakes it from accept.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(
    listener: &TcpListener,
    asked: &Mutex<Vec<Asked>>,
    ending: &AtomicBool,
    reply: &dyn Fn(usize, &Asked) -> Reply,
) {
    let mut silent = Vec::new();
    for stream in listener.incoming() {
        if ending.load(Ordering::SeqCst) {
            return;
        }
        let mut stream = stream.unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let Some(request) = read(&stream) else {
            continue;
        };
        let number = {
            let mut asked = asked.lock().unwrap();
            asked.push(request.clone());
            asked.len() - 1
        };
        // A client that went away is what some tests are about.
        match reply(number, &request) {
            Reply::Whole(status, headers, body) => {
                let mut head = format!(
                    "HTTP/1.1 {status} Told\r\nContent-Length: {}\r\nConnection: close\r\n",
                    body.len()
                );
                for line in headers {
                    head.push_str(&format!("{line}\r\n"));
                }
                let _ = stream.write_all(&[head.as_bytes(), b"\r\n", &body].concat());
            }
            Reply::Bytes(bytes) => {
                let _ = stream.write_all(&bytes);
            }
            Reply::Silence => silent.push(stream),
            Reply::Trickle => {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
                trickle(&mut stream, ending);
            }
            Reply::SlowHead => {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX-Long: ");
                trickle(&mut stream, ending);
            }
            Reply::Endless(headers) => {
                let mut head = "HTTP/1.1 200 OK\r\n".to_owned();
                for line in headers {
                    head.push_str(&format!("{line}\r\n"));
                }
                let _ = stream.write_all(&[head.as_bytes(), b"\r\n["].concat());
                // More than any client should take.
                let piece = b"1,".repeat(1 << 15);
                let goes_on = |_: &u64| stream.write_all(&piece).is_ok();
                (0..ENDLESS / piece.len() as u64)
                    .take_while(goes_on)
                    .for_each(drop);
            }
        }
    }
}

/// One byte after another, for 20 seconds or until somebody goes.
fn trickle(stream: &mut TcpStream, ending: &AtomicBool) {
    let goes_on = |_: &usize| stream.write_all(b"x").is_ok() && !ending.load(Ordering::SeqCst);
    let bytes = (0..1000).take_while(goes_on);
    bytes.for_each(|_| std::thread::sleep(Duration::from_millis(20)));
}

fn read(stream: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    let mut lines = reader.by_ref().lines();
    let first = lines.next()?.ok()?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = Vec::new();
    for line in lines {
        let line = line.ok()?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(": ")?;
        headers.push(format!("{}: {value}", name.to_lowercase()));
    }
    let mut asked = Asked {
        method,
        path,
        headers,
        body: String::new(),
    };
    let length = asked
        .header("content-length")
        .map_or(0, |n| n.parse().unwrap_or(0));
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    asked.body = String::from_utf8_lossy(&body).into_owned();
    Some(asked)
}
