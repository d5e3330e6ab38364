//! The HTTP that a port speaks beside remoting: the embedded page, `/livez`, and the upgrade to WebSocket at `/ws`.
//!
//! GET and HEAD only; nothing here changes anything. A request that carries `Origin` or `Sec-Fetch` headers comes from a page: it is
//! served only where Origin and Host are on the list, and its WebSocket needs the token (SEC-11). A program sends neither
//! header and gets what any other stranger on this port gets.
//! Heads are parsed by `httparse`. Start at [`Site::answer`]; the socket side is in [`crate::listen`].

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};

use subtle::ConstantTimeEq;

use crate::ws;
use crate::www::{self, File};

/// The largest request head, bytes.
pub(crate) const HEAD: usize = 8 << 10;
/// Header lines in it.
const LINES: usize = 64;

/// What a request's head says, as far as it matters here.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    get: bool,
    /// HEAD: as GET, but the body is not wanted.
    bare: bool,
    path: String,
    token: Option<String>,
    host: Option<String>,
    origin: Option<String>,
    /// It carries a `Sec-Fetch` header.
    fetch: bool,
    /// The key of a whole WebSocket upgrade.
    upgrade: Option<Vec<u8>>,
    etag: Option<String>,
    /// The connection may be used again.
    keep: bool,
}

impl Head {
    /// Parses a head and tells its length; `None` when more bytes are needed.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Answer> {
        let mut lines = [httparse::EMPTY_HEADER; LINES];
        let mut request = httparse::Request::new(&mut lines);
        let len = match request.parse(bytes) {
            Ok(httparse::Status::Complete(len)) => len,
            Ok(httparse::Status::Partial) if bytes.len() < HEAD => return Ok(None),
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
                return Err(Answer::text(431, "The request's headers are too long."));
            }
            Err(_) => return Err(Answer::text(400, "This is not an HTTP request.")),
        };
        let target = request.path.unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let token = query.split('&').find_map(|pair| pair.strip_prefix("token="));
        let mut head = Self {
            get: matches!(request.method, Some("GET" | "HEAD")),
            bare: request.method == Some("HEAD"),
            path: path.into(),
            token: token.map(Into::into),
            keep: request.version == Some(1),
            ..Self::default()
        };
        let (mut websocket, mut connection, mut version, mut key) = (false, false, false, None);
        for line in request.headers.iter() {
            let value = String::from_utf8_lossy(line.value);
            let has = |word: &str| value.split(',').any(|v| v.trim().eq_ignore_ascii_case(word));
            match line.name.to_ascii_lowercase().as_str() {
                // Two of these would mean that somebody between us reads another one than we do.
                "host" if head.host.replace(value.to_ascii_lowercase()).is_some() => {
                    return Err(Answer::text(400, "The request has two Host headers."));
                }
                "origin" if head.origin.replace(value.to_ascii_lowercase()).is_some() => {
                    return Err(Answer::text(400, "The request has two Origin headers."));
                }
                // Browsers send it beside Sec-Fetch-Site; Node's own WebSocket sends it alone, and no Origin.
                "sec-fetch-mode" => {}
                name if name.starts_with("sec-fetch-") => head.fetch = true,
                "upgrade" => websocket = has("websocket"),
                "connection" => {
                    connection |= has("upgrade");
                    head.keep &= !has("close");
                }
                "sec-websocket-version" => version = value.trim() == "13",
                "sec-websocket-key" => key = Some(line.value.to_vec()),
                "if-none-match" => head.etag = Some(value.into_owned()),
                // A body is never read, so what follows it cannot be told from it.
                "content-length" | "transfer-encoding" => head.keep = false,
                _ => {}
            }
        }
        head.upgrade = key.filter(|key| !head.bare && websocket && connection && version && key.len() == 24);
        Ok(Some((head, len)))
    }

    fn is_from_page(&self) -> bool {
        self.origin.is_some() || self.fetch
    }
}

/// What to send back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The status code; 101 upgrades.
    pub(crate) status: u16,
    /// Header lines, each ended.
    headers: String,
    body: Body,
    /// The body's length is told, and the body left out.
    bare: bool,
    /// The connection may be used again.
    pub(crate) keep: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Body {
    Text(String),
    File(&'static [u8]),
}

impl Answer {
    fn text(status: u16, text: &str) -> Self {
        Self {
            status,
            headers: "Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n".into(),
            body: Body::Text(format!("{text}\n")),
            bare: false,
            keep: false,
        }
    }

    /// The whole answer for the wire: its head, and the body when that is a file.
    pub(crate) fn encode(&self) -> (Vec<u8>, &'static [u8]) {
        let (len, text, file): (usize, &str, &'static [u8]) = match &self.body {
            Body::Text(text) => (text.len(), text, &[]),
            Body::File(file) => (file.len(), "", file),
        };
        let mut out = format!("HTTP/1.1 {} {}\r\n{}", self.status, reason(self.status), self.headers);
        if self.status != 101 {
            let keep = if self.keep { "keep-alive" } else { "close" };
            // Writing to memory cannot fail.
            let _ = write!(out, "Content-Length: {len}\r\nConnection: {keep}\r\n");
        }
        out.push_str("X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n\r\n");
        if self.bare {
            return (out.into_bytes(), &[]);
        }
        out.push_str(text);
        (out.into_bytes(), file)
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        304 => "Not Modified",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        426 => "Upgrade Required",
        431 => "Request Header Fields Too Large",
        _ => "Error",
    }
}

/// What a port shows to browsers, and which pages may use it.
#[derive(Debug)]
pub struct Site {
    /// The page is served here (a NameServer's port), not only `/livez` and `/ws`.
    page: bool,
    token: String,
    /// Where pages of this server come from: the NameServer's listeners.
    own: Vec<SocketAddr>,
    /// More origins, in lower case: `http://host:port`.
    origins: Vec<String>,
    /// Brokers that the page may connect to, `host:port`, beside those on its own host.
    brokers: Mutex<Vec<String>>,
}

impl Site {
    /// A site. `own` are the addresses at which this server's page is served; `origins` further ones, already checked.
    pub fn new(page: bool, token: String, own: Vec<SocketAddr>, origins: &[String]) -> Self {
        let origins = origins.iter().map(|o| o.trim_end_matches('/').to_ascii_lowercase()).collect();
        Self { page, token, own, origins, brokers: Mutex::default() }
    }

    /// A broker registered: the page's policy lets it connect there.
    pub fn add_broker(&self, address: &str) {
        let sane = address.bytes().all(|b| b.is_ascii_alphanumeric() || b".:-[]".contains(&b));
        let mut brokers = self.brokers.lock().unwrap_or_else(PoisonError::into_inner);
        if sane && brokers.len() < 256 && !brokers.iter().any(|b| b == address) {
            brokers.push(address.into());
        }
    }

    /// A broker is gone.
    pub fn remove_broker(&self, address: &str) {
        self.brokers.lock().unwrap_or_else(PoisonError::into_inner).retain(|b| b != address);
    }

    /// Decides on a request that reached `local`.
    pub(crate) fn answer(&self, head: &Head, local: SocketAddr) -> Answer {
        let mut answer = self.decide(head, local);
        answer.bare = head.bare;
        answer.keep = head.keep && matches!(answer.status, 200 | 304 | 404);
        answer
    }

    fn decide(&self, head: &Head, local: SocketAddr) -> Answer {
        if head.is_from_page()
            && let Err(sentence) = self.admit(head, local)
        {
            return Answer::text(403, &sentence);
        }
        if !head.get {
            let mut answer = Answer::text(405, "Only GET and HEAD are served here.");
            answer.headers.push_str("Allow: GET, HEAD\r\n");
            return answer;
        }
        match head.path.as_str() {
            "/ws" => self.upgrade(head),
            "/livez" => Answer::text(200, "ok"),
            _ if !self.page => Answer::text(404, "This is a broker; the playground is on the NameServer's port."),
            "/" | "/index.html" => match www::find("/index.html") {
                Some(file) => self.file(file, head, local),
                None => Answer::text(200, www::MISSING),
            },
            path => match www::find(path) {
                Some(file) => self.file(file, head, local),
                None => Answer::text(404, "There is no such page."),
            },
        }
    }

    /// SEC-11: Origin and Host of a page's request must be on the list.
    fn admit(&self, head: &Head, local: SocketAddr) -> Result<(), String> {
        if !self.knows(head.host.as_deref().unwrap_or_default(), local) {
            return Err("This address is not on the server's list; open the address that `skylark up` printed.".into());
        }
        let Some(origin) = head.origin.as_deref() else { return Ok(()) };
        let from_own = || {
            self.own.iter().any(|own| {
                let ip = if own.ip().is_unspecified() { local.ip() } else { own.ip() };
                forms(SocketAddr::new(ip, own.port())).any(|form| origin.strip_prefix("http://") == Some(&form))
            })
        };
        if origin != "null" && (self.origins.iter().any(|o| o == origin) || from_own()) {
            return Ok(());
        }
        Err("This page's origin is not on the server's list; start the server with --origin and the page's address."
            .into())
    }

    /// Whether `host` is one of this server's names.
    fn knows(&self, host: &str, local: SocketAddr) -> bool {
        let named = self.origins.iter().any(|o| o.split_once("://").is_some_and(|(_, name)| name == host));
        named || forms(local).any(|form| form == host)
    }

    fn upgrade(&self, head: &Head) -> Answer {
        let Some(key) = &head.upgrade else {
            let mut answer = Answer::text(426, "This address speaks WebSocket, version 13.");
            answer.headers.push_str("Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n");
            return answer;
        };
        if head.fetch && head.origin.is_none() {
            return Answer::text(403, "A page's WebSocket must name its origin.");
        }
        let fits = |token: &String| bool::from(token.as_bytes().ct_eq(self.token.as_bytes()));
        let (allowed, sentence) = match &head.token {
            Some(token) => (fits(token), "The token is wrong; open the address that `skylark up` printed."),
            None => (head.origin.is_none(), "A page needs the token from the address that `skylark up` printed."),
        };
        if !allowed {
            return Answer::text(403, sentence);
        }
        let accept = ws::accept_key(key);
        Answer {
            status: 101,
            headers: format!("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n"),
            body: Body::Text(String::new()),
            bare: false,
            keep: false,
        }
    }

    fn file(&self, file: &'static File, head: &Head, local: SocketAddr) -> Answer {
        let cache = if file.hashed { "public, max-age=31536000, immutable" } else { "no-cache" };
        let mut headers = format!("ETag: {}\r\nCache-Control: {cache}\r\n", file.etag);
        if head.etag.as_deref().is_some_and(|known| known.split(',').any(|tag| tag.trim() == file.etag)) {
            return Answer { status: 304, headers, body: Body::File(&[]), bare: false, keep: false };
        }
        // Writing to memory cannot fail.
        let _ =
            write!(headers, "Content-Type: {}\r\nContent-Security-Policy: {}\r\n", file.kind, self.policy(head, local));
        headers.push_str("Cross-Origin-Opener-Policy: same-origin\r\nCross-Origin-Resource-Policy: same-origin\r\n");
        Answer { status: 200, headers, body: Body::File(file.bytes), bare: false, keep: false }
    }

    /// SEC-15. Connections go to this host (any port: brokers) and to registered brokers, nowhere else.
    fn policy(&self, head: &Head, local: SocketAddr) -> String {
        // Never put into the policy what was not compared with the list: a program's Host may be anything.
        let host = head.host.as_deref().filter(|host| self.knows(host, local)).and_then(|host| host.rsplit_once(':'));
        let mut connect = String::from("'self'");
        match host {
            Some((name, _)) if name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()) => {
                connect.push_str(" ws://127.0.0.1:* ws://localhost:*");
            }
            Some((name, _)) => {
                let _ = write!(connect, " ws://{name}:*");
            }
            None => {}
        }
        for broker in self.brokers.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let _ = write!(connect, " ws://{broker}");
        }
        format!(
            "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src {connect}; style-src 'self'; \
             img-src 'self' data:; font-src 'self'; worker-src 'self'; require-trusted-types-for 'script'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
    }
}

/// The ways in which a browser may write an address in Host and Origin.
fn forms(address: SocketAddr) -> impl Iterator<Item = String> {
    let port = address.port();
    let mut names = vec![SocketAddr::new(address.ip().to_canonical(), port).to_string()];
    if address.ip().to_canonical().is_loopback() {
        names.extend(["localhost", "127.0.0.1", "[::1]"].map(|name| format!("{name}:{port}")));
    }
    let short = (port == 80).then(|| names.iter().map(|n| n.trim_end_matches(":80").into()).collect::<Vec<String>>());
    names.into_iter().chain(short.into_iter().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    const LOCAL: ([u8; 4], u16) = ([127, 0, 0, 1], 10911);

    fn site() -> Site {
        Site::new(true, "s3cret".into(), vec![([127, 0, 0, 1], 9876).into()], &["https://ops.example".into()])
    }

    fn ask(target: &str, lines: &str) -> Answer {
        let text = format!("GET {target} HTTP/1.1\r\n{lines}\r\n");
        let (head, len) = Head::parse(text.as_bytes()).expect("parses").expect("whole");
        assert_eq!(len, text.len());
        site().answer(&head, LOCAL.into())
    }

    #[test]
    fn a_page_needs_a_listed_origin_a_listed_host_and_the_token_sec_11() {
        let good = "Host: 127.0.0.1:10911\r\nOrigin: http://127.0.0.1:9876\r\n";
        for (target, lines, status) in [
            ("/ws?token=s3cret", good, 101),
            ("/ws?token=s3cret", "Host: localhost:10911\r\nOrigin: http://localhost:9876\r\n", 101),
            ("/ws?token=s3cret", "Host: ops.example\r\nOrigin: https://ops.example\r\n", 101),
            ("/ws?token=wrong!", good, 403),
            ("/ws", good, 403),
            ("/ws?token=s3cret", "Host: evil.example\r\nOrigin: http://127.0.0.1:9876\r\n", 403),
            ("/ws?token=s3cret", "Host: 127.0.0.1:10911\r\nOrigin: http://evil.example\r\n", 403),
            ("/ws?token=s3cret", "Host: 127.0.0.1:10911\r\nOrigin: null\r\n", 403),
            ("/ws?token=s3cret", "Host: 127.0.0.1:10911\r\nOrigin: http://127.0.0.1:8080\r\n", 403),
            ("/ws?token=s3cret", "Host: 127.0.0.1:10911\r\nSec-Fetch-Site: same-origin\r\n", 403),
            ("/ws", "Host: 127.0.0.1:10911\r\nSec-Fetch-Mode: websocket\r\n", 101),
            ("/livez", "Host: evil.example\r\nSec-Fetch-Site: none\r\n", 403),
            ("/livez", "Host: 127.0.0.1:10911\r\nSec-Fetch-Site: none\r\n", 200),
        ] {
            assert_eq!(ask(target, &format!("{lines}{KEY}")).status, status, "{target} {lines}");
        }
    }

    #[test]
    fn a_program_needs_no_token_and_a_wrong_one_is_refused() {
        assert_eq!(ask("/ws", KEY).status, 101);
        assert_eq!(ask("/ws?token=wrong", KEY).status, 403);
        assert_eq!(ask("/ws", "").status, 426);
    }

    #[test]
    fn an_upgrade_answers_with_the_key_of_the_standard() {
        let (wire, _) = ask("/ws", KEY).encode();
        let text = String::from_utf8(wire).expect("text");
        assert!(text.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{text}");
    }

    #[test]
    fn head_is_answered_as_get_without_the_body() {
        let (head, _) = Head::parse(b"HEAD /livez HTTP/1.1\r\n\r\n").expect("parses").expect("whole");
        let (wire, file) = site().answer(&head, LOCAL.into()).encode();
        let text = String::from_utf8(wire).expect("text");
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.contains("Content-Length: 3\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\n") && file.is_empty(), "{text}");
        let upgrade = format!("HEAD /ws HTTP/1.1\r\n{KEY}\r\n");
        let (head, _) = Head::parse(upgrade.as_bytes()).expect("parses").expect("whole");
        assert_eq!(site().answer(&head, LOCAL.into()).status, 426);
    }

    #[test]
    fn what_is_not_a_plain_get_is_refused() {
        let parse = |text: &str| Head::parse(text.as_bytes());
        let (head, _) = parse("POST / HTTP/1.1\r\n\r\n").expect("parses").expect("whole");
        assert_eq!(site().answer(&head, LOCAL.into()).status, 405);
        assert_eq!(parse("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").expect_err("two hosts").status, 400);
        assert_eq!(parse(&format!("GET /{} HTTP/1.1\r\n", "x".repeat(HEAD))).expect_err("long").status, 431);
        assert_eq!(parse("GET\0").expect_err("garbage").status, 400);
        assert_eq!(parse("GET / HTTP/1.1\r\nHo"), Ok(None));
    }

    #[test]
    fn the_policy_names_only_listed_hosts_and_registered_brokers_sec_15() {
        let site = site();
        site.add_broker("10.0.0.7:10911");
        site.add_broker("evil; script-src *");
        let policy = |host: &str| {
            let head = Head { host: Some(host.into()), ..Head::default() };
            site.policy(&head, ([127, 0, 0, 1], 9876).into())
        };
        let good = policy("127.0.0.1:9876");
        assert!(good.contains("connect-src 'self' ws://127.0.0.1:* ws://localhost:* ws://10.0.0.7:10911;"), "{good}");
        assert!(!good.contains("evil"));
        assert!(!policy("evil:9876").contains("evil"));
    }
}
