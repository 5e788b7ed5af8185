//! Servers that misbehave, and both kinds of source that ask them: what passes is recovered from, what
//! does not is told in words, and in any case nothing is half written and nothing is lost.
//!
//! Waits of a minute and more are tried in `src/source/http/tests.rs`, on a clock that does not wait.

use std::io::Write;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::sandbox::{Ran, Sandbox, wait_until};
use krammerti_test_server::{Asked, Reply, Server};

const TOKEN: &str = "t0ken-that-nobody-may-see";

/// A kind of source: its parameters, and what a good server answers.
struct Kind {
    name: &'static str,
    params: &'static str,
    good: fn(&Asked) -> String,
}

const KINDS: [Kind; 2] = [
    Kind {
        name: "http",
        params: "    kind: http
    url: URL?from={from}&to={to}
    time_format: unix_s
    from: 2024-06-01
    to: 2024-06-03
    largest_range: 1d
    overlap: 20000d
    expected: {step: 1h, otherwise: fail}
    answer:
      format: json
      rows: /data
      time: {column: /at, format: unix_s}
      columns: {temperature: {unit: °C, from: /air/temp}}
      total: /meta/total
",
        good: history,
    },
    Kind {
        name: "open-meteo",
        params: "    kind: open-meteo
    endpoint: archive
    url: URL
    latitude: 50.93
    longitude: 1.93
    variables: [temperature_2m]
    from: 2024-06-01
    to: 2024-06-02
    days_per_request: 1
    overlap: 20000d
",
        good: |asked| crate::fetch::recorded(asked).to_string(),
    },
];

/// Hourly rows of the range that is asked for.
fn history(asked: &Asked) -> String {
    let number = |name| asked.query(name).unwrap().parse::<i64>().unwrap();
    let times = (number("from")..number("to")).step_by(3600);
    let row = |time: i64| json!({"at": time, "air": {"temp": time % 86_400 / 3600}});
    let rows: Vec<Value> = times.map(row).collect();
    json!({"meta": {"total": rows.len()}, "data": rows}).to_string()
}

type Fault = Box<dyn Fn(usize, &Asked) -> Option<Reply> + Send>;

/// A project with data, and a server that is about to misbehave.
struct Project {
    kind: &'static Kind,
    sandbox: Sandbox,
    server: Server,
    /// How it misbehaves, and for how many requests it has.
    fault: Arc<Mutex<(usize, Option<Fault>)>>,
    output: Vec<u8>,
    stored: Vec<(String, Vec<u8>)>,
}

impl Project {
    fn new(kind: &'static Kind, requests: &str) -> Self {
        let fault: Arc<Mutex<(usize, Option<Fault>)>> = Arc::default();
        let server = Server::new({
            let fault = Arc::clone(&fault);
            move |_, asked| {
                let mut fault = fault.lock().unwrap();
                let number = fault.0;
                let reply = fault.1.as_ref().and_then(|fault| fault(number, asked));
                fault.0 += 1;
                reply.unwrap_or_else(|| Reply::ok(&(kind.good)(asked)))
            }
        });
        let sandbox = Sandbox::empty();
        let params = kind.params.replace("URL", &server.url("/v1"));
        let attempts = if requests.contains("attempts") {
            ""
        } else {
            "attempts: 4, "
        };
        let requests = format!("{{{attempts}first_wait: 10ms, per_minute: 60000, {requests}}}");
        let text = format!("sources:\n  x:\n{params}    requests: {requests}\n");
        sandbox.write(
            "params.yaml",
            &format!("{text}    token: {{env: OUR_TOKEN}}\n"),
        );
        sandbox.write(
            "pipeline.yaml",
            "stages: {fetch: {cmd: krammerti fetch x --out raw.parquet}}\n",
        );
        let mut project = Self {
            kind,
            sandbox,
            server,
            fault,
            output: Vec::new(),
            stored: Vec::new(),
        };
        project.fetch().ok();
        project.output = project.read();
        project.stored = project.responses();
        assert_eq!(
            project.stored.len(),
            4,
            "two answers and what is known of them"
        );
        project
    }

    fn read(&self) -> Vec<u8> {
        std::fs::read(self.sandbox.path("raw.parquet")).unwrap()
    }

    fn responses(&self) -> Vec<(String, Vec<u8>)> {
        self.sandbox.files_under(".krammerti/responses")
    }

    fn fetch(&self) -> Ran {
        let mut command = self.sandbox.command(&["run", "--force"]);
        self.sandbox.finish(command.env("OUR_TOKEN", TOKEN))
    }

    fn misbehave(&self, fault: impl Fn(usize, &Asked) -> Option<Reply> + Send + 'static) {
        *self.fault.lock().unwrap() = (0, Some(Box::new(fault)));
    }

    /// How many requests were made since it began to misbehave.
    fn asked(&self) -> usize {
        self.fault.lock().unwrap().0
    }

    /// The next fetch recovers, and gives what it gave before.
    #[track_caller]
    fn recovers(&self, from: impl Fn(usize) -> Option<Reply> + Send + 'static) {
        self.misbehave(move |number, _| from(number));
        self.fetch().ok();
        assert_eq!(self.read(), self.output, "{}", self.kind.name);
        assert!(
            self.asked() > 2,
            "{}: it never met the fault",
            self.kind.name
        );
    }

    /// The next fetch fails in words and leaves everything as it was; the one after it is well.
    #[track_caller]
    fn refuses(&self, always: impl Fn(&Asked) -> Reply + Send + 'static, says: &[&str]) {
        self.misbehave(move |_, asked| Some(always(asked)));
        let ran = self.fetch().fails(1, says);
        assert!(
            !format!("{}{}", ran.stdout, ran.stderr).contains(TOKEN),
            "{ran}"
        );
        assert_eq!(
            self.read(),
            self.output,
            "the earlier output is gone\n{ran}"
        );
        let is_body = |path: &str| path.contains("/bodies/");
        let bodies = |files: Vec<(String, Vec<u8>)>| {
            files
                .into_iter()
                .filter(|(path, _)| is_body(path))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            bodies(self.responses()),
            bodies(self.stored.clone()),
            "{ran}"
        );
        let names = self
            .sandbox
            .files_under("")
            .into_iter()
            .map(|(path, _)| path);
        let partial = |path: &String| path.contains("partial") && !path.contains("failed");
        assert_eq!(names.filter(partial).collect::<Vec<_>>(), [""; 0], "{ran}");
        let offline = ["run", "--force", "--offline"];
        self.sandbox.run(&offline).ok();
        assert_eq!(self.read(), self.output);
        *self.fault.lock().unwrap() = (0, None);
        self.fetch().ok();
        assert_eq!(self.read(), self.output);
    }
}

fn both(requests: &str, test: impl Fn(&Project)) {
    for kind in &KINDS {
        test(&Project::new(kind, requests));
    }
}

fn status(status: u16, header: &str, body: &str) -> Reply {
    let headers = (!header.is_empty()).then(|| header.to_owned());
    Reply::Whole(status, headers.into_iter().collect(), body.into())
}

fn reason(text: &str) -> String {
    json!({"error": true, "reason": text}).to_string()
}

/// A head that promises so many bytes, and a body.
fn promised(length: usize, body: &[u8]) -> Reply {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    Reply::Bytes([head.as_bytes(), body].concat())
}

fn gzipped(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn slow_headers() {
    both("timeout: 1s, at_once: 1", |project| {
        project.recovers(|number| (number == 0).then_some(Reply::SlowHead));
    });
    both("timeout: 1s, at_once: 1, attempts: 1", |project| {
        project.refuses(|_| Reply::SlowHead, &["no answer in time, after 1 try"]);
    });
}

#[test]
fn a_body_that_trickles() {
    both("timeout: 1s, at_once: 1", |project| {
        project.recovers(|number| (number == 0).then_some(Reply::Trickle));
    });
    both("timeout: 1s, at_once: 1, attempts: 1", |project| {
        project.refuses(
            |_| Reply::Trickle,
            &["the answer did not end in time, after 1 try"],
        );
    });
}

#[test]
fn a_body_that_is_cut_off() {
    both("", |project| {
        let good = project.stored_body();
        let half = good[..good.len() / 2].to_vec();
        let (length, once) = (good.len(), half.clone());
        project.recovers(move |number| (number < 2).then(|| promised(length, &once)));
        project.refuses(
            move |_| promised(length, &half),
            &["the answer broke off", "after 4 tries"],
        );
    });
}

#[test]
fn a_content_length_that_is_wrong() {
    both("", |project| {
        let good = project.stored_body();
        // Too long: the end never comes. Too short: the end is never read.
        let (longer, once) = (good.len() + 10, good.clone());
        project.recovers(move |number| (number == 0).then(|| promised(longer, &once)));
        let (shorter, once) = (good.len() - 10, good.clone());
        project.recovers(move |number| (number == 1).then(|| promised(shorter, &once)));
        project.refuses(
            move |_| promised(good.len() - 10, &good),
            &["the answer ends early", "after 4 tries"],
        );
    });
}

#[test]
fn a_500_and_then_a_200() {
    both("", |project| {
        project.recovers(|number| (number < 2).then(|| status(500, "", "down")));
        project.refuses(
            |_| status(500, "", "<h1>down</h1>"),
            &["status 500: <h1>down</h1>, after 4 tries"],
        );
    });
}

#[test]
fn a_503_that_says_it_is_overloaded() {
    let overloaded = || status(503, "", &reason("The service is overloaded"));
    both("", |project| {
        project.recovers(move |number| (number < 2).then(overloaded));
        project.refuses(
            move |_| overloaded(),
            &["status 503: The service is overloaded, after 4 tries"],
        );
    });
}

#[test]
fn a_429_with_each_reason() {
    both("give_up_after: 30s", |project| {
        let busy = || status(429, "", &reason("Too many concurrent requests"));
        project.recovers(move |number| (number < 2).then(busy));
        project.refuses(
            move |_| busy(),
            &["status 429: Too many concurrent requests, after 4 tries"],
        );
        for (words, says) in [
            (
                "Minutely API request limit exceeded. Please try again in one minute.",
                "the next try, in 61 s, would be after the limit of 30 s",
            ),
            (
                "Daily API request limit exceeded. Please try again tomorrow.",
                "the limit of the day is used up, so it gives up",
            ),
        ] {
            project.refuses(move |_| status(429, "", &reason(words)), &[words, says]);
        }
    });
    // Less than a minute may be left of an hour.
    both("give_up_after: 1s", |project| {
        let words = "Hourly API request limit exceeded. Please try again in the next hour.";
        project.refuses(
            move |_| status(429, "", &reason(words)),
            &[
                words,
                "the next try, in ",
                "would be after the limit of 1 s",
            ],
        );
    });
}

#[test]
fn a_429_that_says_when_in_seconds_or_with_a_date() {
    both("give_up_after: 1h", |project| {
        project.recovers(|number| (number == 0).then(|| status(429, "Retry-After: 1", "")));
        let past = "Retry-After: Sun, 09 Sep 2001 01:47:00 GMT";
        project.recovers(move |number| (number == 0).then(|| status(429, past, "")));
        project.refuses(
            |_| status(429, "Retry-After: 7200", ""),
            &["status 429; the next try, in 2 h, would be after the limit of 60 min"],
        );
        project.refuses(
            |_| status(429, "Retry-After: 18446744073709551615", ""),
            &[
                "status 429; the next try, in",
                "would be after the limit of 60 min",
            ],
        );
        let late = "Retry-After: Fri, 31 Dec 9999 23:59:59 GMT";
        project.refuses(
            move |_| status(503, late, ""),
            &["status 503; the next try, in"],
        );
    });
}

#[test]
fn a_gzip_body_that_is_broken() {
    both("", |project| {
        let gzip = |body: Vec<u8>| Reply::Whole(200, vec!["Content-Encoding: gzip".into()], body);
        let packed = gzipped(&project.stored_body());
        let mut flipped = packed.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 0x55;
        for bad in [packed[..packed.len() - 5].to_vec(), flipped, b"{}".to_vec()] {
            let once = bad.clone();
            project.recovers(move |number| (number == 0).then(|| gzip(once.clone())));
            project.refuses(
                move |_| gzip(bad.clone()),
                &["a damaged gzip body", "after 4 tries"],
            );
        }
        // What was not asked for is not guessed at.
        project.refuses(
            |_| Reply::Whole(200, vec!["Content-Encoding: br".into()], b"x".to_vec()),
            &["expected a plain or gzip body, received one in `br`"],
        );
    });
}

#[test]
fn html_with_status_200() {
    both("", |project| {
        project.refuses(
            |_| Reply::ok("<html>\n <b>Please log in</b></html>"),
            &["received: <html> <b>Please log in</b></html>"],
        );
        assert_eq!(project.asked(), 2, "what does not pass is not tried again");
    });
}

#[test]
fn json_of_another_shape() {
    both("", |project| {
        for (body, says) in [
            (json!([1, 2]), "received: [1,2]"),
            (json!({"data": null, "hourly": null}), "null"),
            (json!({"data": [], "error": "no such station"}), "received"),
        ] {
            let body = body.to_string();
            project.refuses(move |_| Reply::ok(&body), &["source x", says]);
        }
    });
}

#[test]
fn an_endless_redirect() {
    both("", |project| {
        project.refuses(
            |_| status(302, "Location: /again", ""),
            &["more than 5 redirects in a row"],
        );
        project.refuses(
            |_| status(302, "Location: ftp://127.0.0.1/x", ""),
            &["a redirect from http to ftp"],
        );
        project.refuses(|_| status(302, "Location: http://", ""), &["no URL"]);
        project.refuses(|_| status(302, "", ""), &["status 302"]);
    });
}

#[test]
fn a_redirect_to_another_host_loses_the_token() {
    for kind in &KINDS {
        let other = Server::new(move |_, asked| Reply::ok(&(kind.good)(asked)));
        let project = Project::new(kind, "");
        let to = other.url("");
        project.misbehave(move |_, asked| {
            Some(status(307, &format!("Location: {to}{}", asked.path), ""))
        });
        project.fetch().ok();
        assert_eq!(project.read(), project.output);
        let asked = other.asked();
        assert_eq!(asked.len(), 2);
        for asked in asked {
            assert_eq!(asked.header("authorization"), None);
        }
        let first = project.server.asked();
        let bearer = format!("Bearer {TOKEN}");
        assert!(
            first
                .iter()
                .all(|asked| asked.header("authorization") == Some(&bearer))
        );
    }
}

#[test]
fn a_body_of_ten_gigabytes() {
    const LIMIT_MIB: u64 = 64;
    for kind in &KINDS {
        let requests = format!("at_once: 1, largest_body_mib: {LIMIT_MIB}");
        let project = Project::new(kind, &requests);
        let peak = |project: &Project| {
            let mut command = project.sandbox.command(&["run", "--force"]);
            command
                .env("OUR_TOKEN", TOKEN)
                .stderr(Stdio::piped())
                .stdout(Stdio::null());
            let mut child = command.spawn().unwrap();
            let mut peak = 0;
            wait_until("an endless body is given up", || {
                peak = peak.max(project.memory());
                child.try_wait().unwrap().is_some()
            });
            let output = child.wait_with_output().unwrap();
            (peak, String::from_utf8(output.stderr).unwrap())
        };
        project.misbehave(|_, _| Some(Reply::Endless(Vec::new())));
        let (memory, said) = peak(&project);
        let says = format!("the answer is longer than {} bytes", LIMIT_MIB << 20);
        assert!(said.contains(&says), "{said}");
        // Measured: 100 MiB. It must be seen at all.
        let most = (2 * LIMIT_MIB + 100) << 10;
        assert!((1..most).contains(&memory), "{memory} KiB");
        assert_eq!(project.read(), project.output);
        // One that tells its length is not even begun.
        project.refuses(
            |_| Reply::Endless(vec!["Content-Length: 10000000000".into()]),
            &[&says],
        );
    }
}

#[test]
fn a_small_body_that_unpacks_to_a_large_one() {
    let bomb = gzipped(&vec![b' '; 3 << 20]);
    assert!(bomb.len() < 100_000);
    both("largest_body_mib: 1", |project| {
        let bomb = bomb.clone();
        project.refuses(
            move |_| Reply::Whole(200, vec!["Content-Encoding: gzip".into()], bomb.clone()),
            &["the answer is longer than 1048576 bytes"],
        );
    });
}

#[test]
fn a_proxy_from_the_environment_is_used() {
    for kind in &KINDS {
        let proxy = Server::new(move |_, asked| match asked.method.as_str() {
            "CONNECT" => status(403, "", "no way out"),
            _ => Reply::ok(&(kind.good)(asked)),
        });
        let project = Project::new(kind, "attempts: 1");
        let before = project.server.asked().len();
        let old = project.server.url("/v1");
        project
            .sandbox
            .edit("params.yaml", &old, "http://station.example/v1");
        let fetch = |variable: &str, value: &str| {
            let mut command = project.sandbox.command(&["run", "--force"]);
            command.env("OUR_TOKEN", TOKEN).env(variable, value);
            project.sandbox.finish(&mut command)
        };
        fetch("http_proxy", &proxy.url("")).ok();
        assert_eq!(project.read(), project.output);
        let asked = proxy.asked();
        assert_eq!(asked.len(), 2);
        assert!(
            asked
                .iter()
                .all(|asked| asked.path.starts_with("http://station.example/v1?"))
        );
        // Through a proxy https is a tunnel, into which it cannot look.
        project
            .sandbox
            .edit("params.yaml", "http://station", "https://station");
        let told = ["no connection", "; the variable HTTPS_PROXY names a proxy"];
        let ran = fetch("HTTPS_PROXY", &proxy.url("")).fails(1, &told);
        let tunnel = proxy.asked().pop().unwrap();
        assert_eq!(
            (tunnel.method.as_str(), tunnel.path.as_str()),
            ("CONNECT", "station.example:443")
        );
        let told = format!("{tunnel:?}{}{}", ran.stdout, ran.stderr);
        assert!(!told.contains(TOKEN), "{told}");
        assert_eq!(project.server.asked().len(), before);
    }
}

impl Project {
    /// The body of one good answer.
    fn stored_body(&self) -> Vec<u8> {
        let mut bodies = self
            .stored
            .iter()
            .filter(|(path, _)| path.contains("/bodies/"));
        bodies.next().unwrap().1.clone()
    }

    /// The most memory that any process of the run has ever had, in KiB.
    fn memory(&self) -> u64 {
        let of = |line: &String| {
            let (pid, _) = line.split_once(':')?;
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("VmHWM:"))?;
            line.trim().strip_suffix(" kB")?.trim().parse().ok()
        };
        let all = self.sandbox.processes();
        all.iter().filter_map(of).max().unwrap_or(0)
    }
}
