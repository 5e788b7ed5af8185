//! The client against a server that misbehaves, on a clock that does not wait.

use std::io::Read;
use std::sync::Mutex;
use std::time::Duration;

use reqwest::Url;

use super::*;
use crate::params::{RequestLimits, TokenCarrier};
use crate::source::secret::Secret;
use krammerti_test_server::{Asked, Reply, Server};

/// Sunday 2001-09-09 01:46:40 UTC.
const NOW: i64 = 1_000_000_000;

/// Waiting is all that takes time.
#[derive(Default)]
struct Waits(Mutex<Vec<Duration>>);

impl Waits {
    fn seconds(&self) -> Vec<u64> {
        self.0
            .lock()
            .unwrap()
            .iter()
            .map(Duration::as_secs)
            .collect()
    }
}

impl Clock for Waits {
    fn now(&self) -> i64 {
        NOW
    }

    fn elapsed(&self) -> Duration {
        self.0.lock().unwrap().iter().sum()
    }

    fn sleep(&self, wait: Duration) {
        self.0.lock().unwrap().push(wait);
    }

    fn seed(&self) -> u64 {
        7
    }
}

fn limits() -> Limits {
    Limits {
        between: Duration::ZERO,
        attempts: 3,
        ..Limits::from(&RequestLimits::default())
    }
}

struct Tried {
    result: Result<Answer, String>,
    waits: Vec<u64>,
}

impl Tried {
    fn body(self) -> Vec<u8> {
        self.result.unwrap().body
    }

    #[track_caller]
    fn fails(&self, says: &str) {
        let error = self.result.as_ref().unwrap_err();
        assert!(error.contains(says), "{error}");
    }
}

fn ask(url: String) -> Ask {
    Ask {
        slot: "slot".into(),
        url,
        ..Ask::default()
    }
}

/// One request to a server, in a project of its own.
fn tried(limits: Limits, reply: impl Fn(usize) -> Reply + Send + 'static) -> Tried {
    let server = Server::new(move |number, _| reply(number));
    let project = tempfile::tempdir().unwrap();
    let waits = Waits::default();
    let client = Client::new(project.path(), limits, &waits, None, false).unwrap();
    let result = client
        .get(&ask(server.url("/data?x=1")), &whole)
        .map_err(|error| error.to_string());
    let seconds = waits.seconds();
    Tried {
        result,
        waits: seconds,
    }
}

/// A reader that wants its text closed by a point.
fn whole(body: &[u8]) -> Result<(), Refused> {
    match body {
        [.., b'.'] => Ok(()),
        _ => Err(Refused {
            message: format!("expected a point, found: {}", start_of(body)),
            may_pass: !body.starts_with(b"<"),
        }),
    }
}

fn status(status: u16, header: &str, body: &str) -> Reply {
    let headers = (!header.is_empty()).then(|| header.to_owned());
    Reply::Whole(status, headers.into_iter().collect(), body.into())
}

#[test]
fn what_passes_is_tried_again_with_growing_waits() {
    let answer = tried(limits(), |number| match number {
        0 => status(500, "", "down"),
        1 => status(
            503,
            "",
            r#"{"error":true,"reason":"The service is overloaded"}"#,
        ),
        _ => Reply::ok("well."),
    });
    // 1 s and 2 s less the jitter of up to a half.
    assert!(
        answer.waits.len() == 2 && answer.waits[1] >= 1,
        "{:?}",
        answer.waits
    );
    assert_eq!(answer.body(), b"well.");
    let never = tried(limits(), |_| status(500, "", "down"));
    never.fails("/data?x=1: status 500: down, after 3 tries");
    assert_eq!(never.waits.len(), 2);
    let wrong = tried(limits(), |_| {
        status(400, "", r#"{"error":true,"reason":"No such variable"}"#)
    });
    wrong.fails("status 400: No such variable");
    assert!(wrong.waits.is_empty());
}

#[test]
fn a_server_says_how_long_to_wait() {
    let once = |header: &'static str, reason: &'static str| {
        tried(limits(), move |number| match number {
            0 => status(
                429,
                header,
                &format!(r#"{{"error":true,"reason":"{reason}"}}"#),
            ),
            _ => Reply::ok("well."),
        })
    };
    assert_eq!(once("Retry-After: 17", "").waits, [17]);
    let date = "Retry-After: Sun, 09 Sep 2001 01:47:00 GMT";
    assert_eq!(once(date, "").waits, [20]);
    let minute = "Minutely API request limit exceeded. Please try again in one minute.";
    assert_eq!(once("", minute).waits, [61]);
    // 13 minutes and 20 seconds are left of the hour.
    let hour = "Hourly API request limit exceeded. Please try again in the next hour.";
    assert_eq!(once("", hour).waits, [801]);
    let tomorrow = once(
        "",
        "Daily API request limit exceeded. Please try again tomorrow.",
    );
    tomorrow.fails("tomorrow.; the limit of the day is used up, so it gives up");
    assert!(tomorrow.waits.is_empty());
    let busy = once("", "Too many concurrent requests");
    assert!(busy.waits.len() == 1 && busy.result.is_ok());
    let late = once("Retry-After: 7200", "");
    late.fails("the next try, in 2 h, would be after the limit of 30 min");
    assert!(late.waits.is_empty());
}

#[test]
fn an_answer_counts_only_whole_and_accepted() {
    let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf.".to_vec();
    let answer = tried(limits(), move |number| match number {
        0 => Reply::Bytes(cut.clone()),
        1 => Reply::ok("no end"),
        _ => Reply::ok("well."),
    });
    assert_eq!(answer.body(), b"well.");
    let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf.".to_vec();
    tried(limits(), move |_| Reply::Bytes(cut.clone())).fails("the answer broke off");
    let page = tried(limits(), |_| Reply::ok("<html>Please\n log in</html>"));
    page.fails("expected a point, found: <html>Please log in</html>");
    assert!(page.waits.is_empty());
    let small = Limits {
        body: 1000,
        ..limits()
    };
    tried(small, |_| Reply::ok(&"x".repeat(1001))).fails("longer than 1000 bytes");
    let soon = Limits {
        request: Duration::from_millis(200),
        attempts: 2,
        ..limits()
    };
    let slow = tried(soon, |_| Reply::Silence);
    slow.fails("no answer in time, after 2 tries");
    assert_eq!(slow.waits.len(), 1);
    let soon = Limits {
        request: Duration::from_millis(200),
        attempts: 1,
        ..limits()
    };
    tried(soon.clone(), |_| Reply::Trickle).fails("the answer did not end in time, after 1 try");
    tried(soon, |_| Reply::SlowHead).fails("no answer in time, after 1 try");
}

#[test]
fn a_gzip_body_is_unpacked_and_a_damaged_one_is_not_used() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, b"packed.").unwrap();
    let packed = encoder.finish().unwrap();
    let gzip =
        |body: &[u8]| Reply::Whole(200, vec!["Content-Encoding: gzip".into()], body.to_vec());
    let good = packed.clone();
    assert_eq!(tried(limits(), move |_| gzip(&good)).body(), b"packed.");
    tried(limits(), move |_| gzip(&packed[..12])).fails("damaged gzip");
}

#[test]
fn redirects_are_followed_and_loops_end() {
    let moved = |to: &str| status(302, &format!("Location: {to}"), "");
    let answer = tried(limits(), move |number| match number {
        0 => moved("/other"),
        _ => Reply::ok("well."),
    });
    assert_eq!(answer.body(), b"well.");
    tried(limits(), move |_| moved("/again")).fails("more than 5 redirects in a row");
}

#[test]
fn a_token_does_not_follow_to_another_host() {
    for (carrier, name) in [
        (TokenCarrier::Bearer, "authorization"),
        (TokenCarrier::Header("X-Api-Key".into()), "x-api-key"),
    ] {
        let other = Server::new(|_, _| Reply::ok("elsewhere."));
        let to = other.url("/there");
        let first = Server::new(move |number, _| match number {
            0 => status(307, "Location: /here", ""),
            _ => status(307, &format!("Location: {to}"), ""),
        });
        let project = tempfile::tempdir().unwrap();
        let waits = Waits::default();
        let credential = Credential {
            carrier,
            secret: Secret::of("s3cr3t"),
        };
        let client =
            Client::new(project.path(), limits(), &waits, Some(credential), false).unwrap();
        let answer = client.get(&ask(first.url("/")), &whole).unwrap();
        assert_eq!(answer.body, b"elsewhere.");
        let told: Vec<_> = first.asked();
        let sent = |asked: &Asked| asked.header(name).map(|v| v.contains("s3cr3t"));
        assert_eq!(told.iter().map(sent).collect::<Vec<_>>(), [Some(true); 2]);
        assert_eq!(other.asked().iter().map(sent).collect::<Vec<_>>(), [None]);
    }
}

#[test]
fn a_token_that_a_server_repeats_is_hidden() {
    let server = Server::new(|_, asked| match asked.path.as_str() {
        "/bad" => status(401, "", r#"{"error":true,"reason":"s3cr3t is no key"}"#),
        _ => Reply::ok("your key is s3cr3t."),
    });
    let project = tempfile::tempdir().unwrap();
    let waits = Waits::default();
    let credential = Credential {
        carrier: TokenCarrier::Bearer,
        secret: Secret::of("s3cr3t"),
    };
    let client = Client::new(project.path(), limits(), &waits, Some(credential), false).unwrap();
    let error = client.get(&ask(server.url("/bad")), &whole).unwrap_err();
    assert!(
        error.to_string().contains("status 401: *** is no key"),
        "{error}"
    );
    let answer = client.get(&ask(server.url("/good")), &whole).unwrap();
    assert_eq!(answer.body, b"your key is ***.");
    let (meta, body) = client.responses.find("slot").unwrap().unwrap();
    assert_eq!((meta.token_hidden, body), (true, answer.body));
}

#[test]
fn a_token_that_a_message_cuts_is_hidden_before() {
    // The messages tell 200 characters, of which the last ones would be a part of the token.
    let before = "x".repeat(195);
    let server = Server::new({
        let before = before.clone();
        move |_, asked| match asked.path.split('?').next().unwrap() {
            "/bad" => status(400, "", &format!("{before}aB/c~*=s3cr3t")),
            "/reason" => {
                let reason = format!("{before}aB%2fc%7e*%3ds3cr3t");
                status(400, "", &format!(r#"{{"reason":"{reason}"}}"#))
            }
            _ => Reply::ok(&format!("<{before}aB/c~*=s3cr3t")),
        }
    });
    let project = tempfile::tempdir().unwrap();
    let waits = Waits::default();
    let credential = Credential {
        carrier: TokenCarrier::Query("key".into()),
        secret: Secret::of("aB/c~*=s3cr3t"),
    };
    let client = Client::new(project.path(), limits(), &waits, Some(credential), false).unwrap();
    for path in ["/bad", "/reason", "/good"] {
        let error = client.get(&ask(server.url(path)), &whole).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("xxx*") && !error.contains("aB"), "{error}");
    }
    let sent = &server.asked()[0].path;
    assert!(sent.ends_with("?key=aB%2Fc~%2A%3Ds3cr3t"), "{sent}");
}

#[test]
fn what_did_not_change_is_not_sent_again_and_what_is_final_not_asked() {
    let server = Server::new(
        |number, asked| match (number, asked.header("if-none-match")) {
            (0, None) => status(200, "ETag: \"v1\"", "first."),
            (1, Some("\"v1\"")) => status(304, "", ""),
            (2, Some("\"v1\"")) => status(200, "ETag: \"v2\"", "second."),
            _ => status(400, "", "unexpected"),
        },
    );
    let project = tempfile::tempdir().unwrap();
    let waits = Waits::default();
    let client = |offline| Client::new(project.path(), limits(), &waits, None, offline).unwrap();
    let url = server.url("/");
    let get = |client: &Client<'_>, final_since| {
        let ask = Ask {
            final_since,
            ..ask(url.clone())
        };
        client.get(&ask, &whole).unwrap()
    };
    let online = client(false);
    assert!(get(&online, None).before.is_none());
    let unchanged = get(&online, None);
    assert_eq!(
        (unchanged.body, unchanged.before),
        (b"first.".to_vec(), Some(b"first.".to_vec()))
    );
    assert!(unchanged.asked && unchanged.stored);
    // Stored a second too early to be final.
    let changed = get(&online, Some(NOW + 1));
    assert_eq!(
        (changed.body, changed.before),
        (b"second.".to_vec(), Some(b"first.".to_vec()))
    );
    assert!(changed.asked && !changed.stored);
    let last = get(&online, Some(NOW));
    assert_eq!((last.body, last.asked), (b"second.".to_vec(), false));
    let offline = client(true);
    assert!(!get(&offline, None).asked);
    let elsewhere = Ask {
        slot: "other".into(),
        ..ask(url.clone())
    };
    let error = offline.get(&elsewhere, &whole).unwrap_err();
    assert!(matches!(error, SourceError::NotStored { .. }));
    assert_eq!(server.asked().len(), 3);
}

#[test]
fn what_a_client_is_told_to_try_later_is_tried_later() {
    for passing in [408, 425, 502] {
        let answer = tried(limits(), move |number| match number {
            0 => status(passing, "", ""),
            _ => Reply::ok("well."),
        });
        assert_eq!((answer.waits.len(), answer.body()), (1, b"well.".to_vec()));
    }
    // Nobody is asked again at once, whatever he says.
    let eager = Limits {
        first_wait: Duration::from_secs(10),
        ..limits()
    };
    let answer = tried(eager, |number| match number {
        0 => status(429, "Retry-After: 0", ""),
        _ => Reply::ok("well."),
    });
    assert!(answer.waits[0] >= 5, "{:?}", answer.waits);
    let never = tried(limits(), |_| {
        status(503, "Retry-After: 18446744073709551615", "")
    });
    never.fails("would be after the limit of 30 min");
}

#[test]
fn a_server_that_says_to_wait_is_left_alone_by_all() {
    let server = Server::new(|number, _| match number {
        0 => status(429, "Retry-After: 17", ""),
        _ => Reply::ok("well."),
    });
    let project = tempfile::tempdir().unwrap();
    let waits = Waits::default();
    let client = Client::new(project.path(), limits(), &waits, None, false).unwrap();
    client.get(&ask(server.url("/")), &whole).unwrap();
    assert_eq!(client.turns().not_before, Duration::from_secs(17));
    // And when one has failed for good, no wait of another is of use.
    client.stop();
    let error = client.get(&ask(server.url("/")), &whole).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("given up, because another request failed"),
        "{error}"
    );
    assert_eq!(server.asked().len(), 2);
    SystemClock::new().sleep_unless(Duration::from_hours(1), &AtomicBool::new(true));
}

/// Waits, of which the first one begins only when the test has met it twice: in between it does what it likes.
struct Met {
    time: Mutex<Duration>,
    is_first: AtomicBool,
    meeting: std::sync::Barrier,
}

impl Clock for Met {
    fn now(&self) -> i64 {
        NOW
    }

    fn elapsed(&self) -> Duration {
        *self.time.lock().unwrap()
    }

    fn sleep(&self, wait: Duration) {
        let end = self.elapsed() + wait;
        if self.is_first.swap(false, Ordering::SeqCst) {
            self.meeting.wait();
            self.meeting.wait();
        }
        let mut time = self.time.lock().unwrap();
        *time = (*time).max(end);
    }

    fn seed(&self) -> u64 {
        7
    }
}

#[test]
fn who_waits_for_its_turn_waits_on_where_the_server_says_so_meanwhile() {
    let project = tempfile::tempdir().unwrap();
    let clock = Met {
        time: Mutex::default(),
        is_first: AtomicBool::new(true),
        meeting: std::sync::Barrier::new(2),
    };
    let limits = Limits {
        between: Duration::from_secs(1),
        ..limits()
    };
    let client = Client::new(project.path(), limits, &clock, None, false).unwrap();
    let ask = ask("http://host/".into());
    client.wait_for_turn(&ask).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| client.wait_for_turn(&ask));
        clock.meeting.wait();
        // As if another request were told to come again later.
        client.turns().not_before = Duration::from_mins(1);
        clock.meeting.wait();
        waiting.join().unwrap().unwrap();
    });
    assert_eq!(clock.elapsed(), Duration::from_mins(1));
    // The turns go on from there.
    client.wait_for_turn(&ask).unwrap();
    assert_eq!(clock.elapsed(), Duration::from_secs(61));
    let gone = Ask {
        until: Some(NOW),
        ..ask
    };
    let error = client.wait_for_turn(&gone).unwrap_err().to_string();
    let told = "its turn would come too late, as the answer is of use before 2001-09-09 01:46 UTC only; fetch again";
    assert!(error.ends_with(told), "{error}");
}

#[test]
fn a_post_is_sent_without_conditions() {
    let server = Server::new(|_, asked| match asked.header("if-none-match") {
        Some(_) => status(412, "", "precondition failed"),
        None => status(200, "ETag: \"v1\"", "well."),
    });
    let project = tempfile::tempdir().unwrap();
    let waits = Waits::default();
    let client = Client::new(project.path(), limits(), &waits, None, false).unwrap();
    let post = Ask {
        post: Some("{}".to_owned()),
        ..ask(server.url("/"))
    };
    for _ in 0..2 {
        assert_eq!(client.get(&post, &whole).unwrap().body, b"well.");
    }
}

#[test]
fn offline_an_answer_to_another_request_stands_only_for_what_is_open() {
    let server = Server::new(|_, _| Reply::ok("well."));
    let project = tempfile::tempdir().unwrap();
    let waits = Waits::default();
    let client = |offline| Client::new(project.path(), limits(), &waits, None, offline).unwrap();
    let first = ask(server.url("/?to=1"));
    client(false).get(&first, &whole).unwrap();
    let offline = client(true);
    assert!(!offline.get(&first, &whole).unwrap().older);
    let later = ask(server.url("/?to=2"));
    let error = offline.get(&later, &whole).unwrap_err();
    assert!(
        error.to_string().ends_with("/?to=2") && matches!(error, SourceError::NotStored { .. }),
        "{error}"
    );
    let open = Ask {
        may_be_older: true,
        ..later
    };
    let answer = offline.get(&open, &whole).unwrap();
    assert!(answer.older && answer.stored && !answer.asked);
}

#[test]
fn what_was_stored_by_other_rules_is_asked_for_again() {
    let server = Server::new(|_, asked| match asked.header("if-none-match") {
        Some(_) => status(304, "", ""),
        None => status(200, "ETag: \"v1\"", "first!."),
    });
    let project = tempfile::tempdir().unwrap();
    let waits = Waits::default();
    let client = Client::new(project.path(), limits(), &waits, None, false).unwrap();
    let ask = ask(server.url("/"));
    client.get(&ask, &whole).unwrap();
    let never = |_: &[u8]| {
        Err(Refused {
            message: "no".into(),
            may_pass: false,
        })
    };
    let error = client.get(&ask, &never).unwrap_err();
    assert!(error.to_string().ends_with(": no"), "{error}");
    let conditions: Vec<bool> = server
        .asked()
        .iter()
        .map(|asked| asked.header("if-none-match").is_some())
        .collect();
    assert_eq!(conditions, [false, true, false]);
    // Fresh means without conditions, too.
    let fresh = Ask { fresh: true, ..ask };
    assert!(client.get(&fresh, &whole).unwrap().before.is_some());
    assert_eq!(server.asked()[3].header("if-none-match"), None);
}

#[test]
fn a_post_stays_one_only_where_a_redirect_says_so() {
    for (code, stays) in [
        (301, false),
        (302, false),
        (303, false),
        (307, true),
        (308, true),
    ] {
        let server = Server::new(move |number, _| match number {
            0 => status(code, "Location: /there", ""),
            _ => Reply::ok("well."),
        });
        let project = tempfile::tempdir().unwrap();
        let waits = Waits::default();
        let client = Client::new(project.path(), limits(), &waits, None, false).unwrap();
        let post = Some("{\"a\":1}".to_owned());
        client
            .get(
                &Ask {
                    post,
                    ..ask(server.url("/"))
                },
                &whole,
            )
            .unwrap();
        let asked = server.asked();
        assert_eq!(
            (asked[0].method.as_str(), asked[0].body.as_str()),
            ("POST", "{\"a\":1}")
        );
        let expected = if stays {
            ("POST", "{\"a\":1}")
        } else {
            ("GET", "")
        };
        assert_eq!(
            (asked[1].method.as_str(), asked[1].body.as_str()),
            expected,
            "{code}"
        );
    }
}

#[test]
fn a_redirect_never_leaves_https_and_takes_nothing_along() {
    let project = tempfile::tempdir().unwrap();
    let waits = Waits::default();
    let credential = Credential {
        carrier: TokenCarrier::Query("key".into()),
        secret: Secret::of("s3cr3t"),
    };
    let client = Client::new(project.path(), limits(), &waits, Some(credential), false).unwrap();
    let to = |from: &str, to: &str| {
        let (from, to) = (Url::parse(from).unwrap(), Url::parse(to).unwrap());
        let redirected = client.redirected(&ask("https://a/".into()), &from, to);
        redirected
            .map(|url| url.to_string())
            .map_err(|error| error.to_string())
    };
    assert!(
        to("https://a/", "http://a/")
            .unwrap_err()
            .ends_with("a redirect from https to http")
    );
    assert!(to("http://a/", "file:///a").is_err());
    assert!(
        to("http://a/", "http://b/s3cr3t")
            .unwrap_err()
            .ends_with("tells the token")
    );
    assert_eq!(
        to(
            "http://a/",
            "https://u:p@b/c?x=1&key=s3cr3t&y=%20&k%65y=2#part"
        )
        .as_deref(),
        Ok("https://b/c?x=1&y=%20")
    );
    assert_eq!(
        to("http://a/", "https://b/?key=s3cr3t").as_deref(),
        Ok("https://b/")
    );
}

/// A server that speaks TLS with a certificate that nobody vouches for; it tells what it could read.
fn self_signed() -> (String, std::thread::JoinHandle<Vec<usize>>) {
    let certificate = include_bytes!("../../../tests/data/tls/self-signed.der");
    let key = include_bytes!("../../../tests/data/tls/self-signed-key.der");
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.to_vec());
    let provider = rustls::crypto::ring::default_provider();
    let config = rustls::ServerConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.to_vec().into()], key.into())
        .unwrap();
    let config = std::sync::Arc::new(config);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let mut read = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream
                .set_read_timeout(Some(Duration::from_secs(20)))
                .unwrap();
            let mut tls = rustls::ServerConnection::new(std::sync::Arc::clone(&config)).unwrap();
            let mut bytes = [0; 1000];
            let mut both = rustls::Stream::new(&mut tls, &mut stream);
            match both.read(&mut bytes) {
                // The end: what is no TLS at all.
                Err(error) if error.to_string().contains("corrupt") => break,
                result => read.push(result.unwrap_or(0)),
            }
        }
        read
    });
    (url, thread)
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_refused() {
    let (url, thread) = self_signed();
    let project = tempfile::tempdir().unwrap();
    let waits = Waits::default();
    let credential = Credential {
        carrier: TokenCarrier::Bearer,
        secret: Secret::of("s3cr3t"),
    };
    let client = Client::new(project.path(), limits(), &waits, Some(credential), false).unwrap();
    let error = client
        .get(&ask(url.clone()), &whole)
        .unwrap_err()
        .to_string();
    assert!(error.contains("certificate"), "{error}");
    assert!(waits.seconds().is_empty(), "it was tried again");
    let address = url.trim_start_matches("https://").trim_end_matches('/');
    let mut end = std::net::TcpStream::connect(address).unwrap();
    std::io::Write::write_all(&mut end, b"GET / HTTP/1.1\r\n\r\n").unwrap();
    // Nothing was sent to whom nobody knows.
    assert_eq!(thread.join().unwrap(), [0]);
}
