//! Random mutations of valid requests: whatever is released is what a strict reader reads too.

use larder::guard::{Asked, Framing, RequestGuard};
use proptest::prelude::*;

use crate::corpus::{run_request, run_response};

const SEEDS: [&str; 6] = [
    "GET /api/projects?page=1 HTTP/1.1\r\nHost: api.example.com:80\r\nAccept: */*\r\n\r\n",
    "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nX: y\r\n\r\n",
    "GET http://a:80/x?y HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nExpect: 100-continue\r\n\r\n",
    "\r\nOPTIONS * HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "HEAD / HTTP/1.1\r\nHost: [::1]:1\r\nCookie: a=b; c=d\r\nX-E: caf\u{e9}\r\n\r\n",
];

/// What smuggling is made of.
const PIECES: [&str; 20] = [
    "\r\n",
    "\r",
    "\n",
    " ",
    "\t",
    "\0",
    ":",
    ",",
    "#",
    "Host: b\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: +5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: x, chunked\r\n",
    "chunked",
    "\r\n\r\n",
    "0\r\n\r\n",
    "GET / HTTP/1.1\r\n",
    " HTTP/1.0",
    "\u{e9}",
];

#[derive(Clone, Debug)]
enum Mutation {
    Insert(usize, usize),
    Replace(usize, u8),
    Remove(usize, usize),
    Repeat(usize, usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = 0..400_usize;
    prop_oneof![
        (at.clone(), 0..PIECES.len()).prop_map(|(at, piece)| Mutation::Insert(at, piece)),
        (at.clone(), any::<u8>()).prop_map(|(at, byte)| Mutation::Replace(at, byte)),
        (at.clone(), 1..8_usize).prop_map(|(at, len)| Mutation::Remove(at, len)),
        (at, 1..40_usize).prop_map(|(at, len)| Mutation::Repeat(at, len)),
    ]
}

fn request() -> impl Strategy<Value = Vec<u8>> {
    let seeds = prop::collection::vec(0..SEEDS.len(), 1..4);
    (seeds, prop::collection::vec(mutation(), 0..4)).prop_map(|(seeds, mutations)| {
        let mut bytes: Vec<u8> = seeds.iter().flat_map(|&seed| SEEDS[seed].bytes()).collect();
        for mutation in mutations {
            mutate(&mut bytes, &mutation);
        }
        bytes
    })
}

fn mutate(bytes: &mut Vec<u8>, mutation: &Mutation) {
    let span = |at: usize, len: usize, total: usize| {
        let at = at % (total + 1);
        at..(at + len).min(total)
    };
    let total = bytes.len();
    match *mutation {
        Mutation::Insert(at, piece) => {
            let at = at % (total + 1);
            bytes.splice(at..at, PIECES[piece].bytes());
        }
        Mutation::Replace(at, byte) if total > 0 => bytes[at % total] = byte,
        Mutation::Replace(..) => {}
        Mutation::Remove(at, len) => drop(bytes.drain(span(at, len, total))),
        Mutation::Repeat(at, len) => {
            let span = span(at, len, total);
            let copy = bytes[span.clone()].to_vec();
            bytes.splice(span.end..span.end, copy);
        }
    }
}

/// Reads `released` as strictly as can be, apart from the guard's code; gives how many heads it found, or what is wrong.
fn reread(mut released: &[u8]) -> Result<u64, String> {
    let mut heads = 0;
    while !released.is_empty() {
        let mut fields = [httparse::EMPTY_HEADER; 100];
        let mut head = httparse::Request::new(&mut fields);
        let parsed = head.parse(released).map_err(|error| error.to_string())?;
        let httparse::Status::Complete(len) = parsed else { return Err("a part of a head".into()) };
        if !released[..len].ends_with(b"\r\n\r\n")
            || released[..len - 4].windows(4).any(|four| four == b"\r\n\r\n")
        {
            return Err("the head ends elsewhere".into());
        }
        heads += 1;
        head.path.unwrap_or("").parse::<http::Uri>().map_err(|error| error.to_string())?;
        let values = |name: &str| -> Vec<&[u8]> {
            head.headers
                .iter()
                .filter(|field| field.name.eq_ignore_ascii_case(name))
                .map(|field| field.value)
                .collect()
        };
        if head.version == Some(1) && values("host").len() != 1 || values("host").len() > 1 {
            return Err("not one Host".into());
        }
        released = &released[len..];
        match (&values("content-length")[..], &values("transfer-encoding")[..]) {
            ([], []) => {}
            ([length], []) => {
                let length: usize = std::str::from_utf8(length)
                    .ok()
                    .filter(|length| length.bytes().all(|b| b.is_ascii_digit()))
                    .and_then(|length| length.parse().ok())
                    .ok_or("a length that is none")?;
                released = &released[length.min(released.len())..];
            }
            ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") && head.version == Some(1) => {
                released = skip_chunks(released)?;
            }
            _ => return Err("ambiguous framing".into()),
        }
    }
    Ok(heads)
}

/// What follows a chunked body; nothing if the body is not whole.
fn skip_chunks(mut rest: &[u8]) -> Result<&[u8], String> {
    let line_of = |rest: &[u8]| rest.windows(2).position(|two| two == b"\r\n");
    loop {
        let Some(end) = line_of(rest) else { return Ok(&[]) };
        let digits = rest[..end].split(|&b| b == b';').next().unwrap_or_default();
        let size =
            usize::from_str_radix(&String::from_utf8_lossy(digits), 16).map_err(|error| error.to_string())?;
        rest = &rest[end + 2..];
        if size == 0 {
            while let Some(end) = line_of(rest) {
                rest = &rest[end + 2..];
                if end == 0 {
                    return Ok(rest);
                }
            }
            return Ok(&[]);
        }
        let Some(next) = size.checked_add(2).and_then(|len| rest.get(len..)) else { return Ok(&[]) };
        rest = next;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_verdict_is_the_same_for_every_split(bytes in request(), cuts in prop::collection::vec(0..400_usize, 0..8)) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.sort_unstable();
        prop_assert_eq!(run_request(&bytes, &cuts), run_request(&bytes, &[]));
    }

    #[test]
    fn what_is_released_is_framed_alike_by_a_strict_reader(bytes in request()) {
        let mut guard = RequestGuard::default();
        let (mut released, mut at) = (Vec::new(), 0);
        while let Ok(step) = guard.step(&bytes[at..]) {
            released.extend_from_slice(&bytes[at + step.swallowed..][..step.released]);
            at += step.swallowed + step.released;
            if step.swallowed + step.released == 0 {
                break;
            }
        }
        prop_assert_eq!(reread(&released), Ok(guard.heads()));
    }

    #[test]
    fn noise_never_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        run_request(&bytes, &[]);
        for framing in [Framing::Strict, Framing::Lenient] {
            run_response(framing, &[Asked::Content], &bytes, &[]);
        }
    }
}
