//! The differences that are meant, each with the section that settles it.
//!
//! Invariant: an explanation speaks of one cause, and looks for that cause in what was said, not for its effect; where
//! the right figure can be had by other means, it is asked for. It refuses to excuse what it cannot name.

use larder::policy::{NoStore, Reuse, WhyValidate};

use crate::case::{Case, Fields, RECEIVED};
use crate::verdict::{About, Disagreement};

/// A difference that is meant.
pub(crate) struct Explained {
    /// The questions that it may bear on.
    pub(crate) of: &'static [About],
    /// What settles it.
    pub(crate) section: &'static str,
    /// Who reads it how.
    pub(crate) why: &'static str,
    /// Whether it is the cause here.
    pub(crate) when: fn(&Disagreement<'_>) -> bool,
}

const STORED: &[About] = &[About::Stored];
const REUSED: &[About] = &[About::Reused];
const WORDS: &[About] = &[About::Stored, About::Lifetime, About::Reused];
const LIVES: &[About] = &[About::Stored, About::Lifetime];
const VALIDATORS: &[About] = &[About::Conditions, About::Confirmed];
const FIELDS: &[About] = &[About::Kept, About::Merged];

/// All of them.
pub(crate) const EXPLAINED: &[Explained] = &[
    // ---- how Cache-Control is read ----
    Explained {
        of: WORDS,
        section: "RFC 9111 §5.2",
        why: "directives have no case; theirs knows lower case only",
        when: |d| d.said().any(|line| line.bytes().any(|byte| byte.is_ascii_uppercase())),
    },
    Explained {
        of: WORDS,
        section: "RFC 9111 §5.2, RFC 9110 §5.6.4",
        why: "a comma in a quoted string parts nothing; theirs parts there",
        when: |d| d.said().any(|line| line.split('"').skip(1).step_by(2).any(|text| text.contains(','))),
    },
    Explained {
        of: WORDS,
        section: "RFC 9110 §5.5",
        why: "an octet beyond ASCII spoils its directive; theirs does not see the line",
        when: |d| d.said().any(|line| !line.is_ascii()),
    },
    Explained {
        of: STORED,
        section: "RFC 9111 §5.2",
        why: "what follows a blank is an argument that nobody defined: the prohibition before it stands",
        when: |d| d.directives().any(|one| one.starts_with("no-store ")),
    },
    Explained {
        of: STORED,
        section: "RFC 9111 §5.2.2",
        why: "a permission with an argument is not the one that was defined; theirs takes it",
        when: |d| d.answered().any(|one| one == "public=1"),
    },
    Explained {
        of: WORDS,
        section: "RFC 9111 §4.2.1",
        why: "of repeated numbers the lowest counts; theirs takes the first, and must-revalidate with it",
        when: |d| {
            let named: Vec<&str> = d.directives().map(name).collect();
            named.iter().enumerate().any(|(nth, one)| named[nth + 1..].contains(one))
        },
    },
    Explained {
        of: WORDS,
        section: "RFC 9111 §4.2.1",
        why: "a number that cannot be read counts as the strictest; theirs ignores it, or reads `+60` and `= 60`",
        when: |d| d.directives().any(|one| one.is_ascii() && is_number(name(one)) && !is_readable(one)),
    },
    Explained {
        of: LIVES,
        section: "RFC 9111 §1.2.2",
        why: "a number too large is 2^31; theirs keeps it",
        when: |d| d.answered().any(|one| one.ends_with("=99999999999")),
    },
    // ---- what the response says ----
    Explained {
        of: WORDS,
        section: "RFC 9213 §2.2",
        why: "CDN-Cache-Control takes the place of Cache-Control and Expires; theirs does not know it",
        when: |d| d.case.answered.has("cdn-cache-control"),
    },
    Explained {
        of: STORED,
        section: "RFC 9111 §5.2.2.7",
        why: "private with field names keeps those fields back; theirs keeps back the whole",
        when: |d| d.ours.stored && d.answered().any(|one| one.starts_with("private=")),
    },
    Explained {
        of: WORDS,
        section: "RFC 9111 §5.2.2.4",
        why: "no-cache with field names is about those fields; theirs validates the whole",
        when: |d| d.answered().any(|one| one.starts_with("no-cache=")),
    },
    Explained {
        of: STORED,
        section: "RFC 9111 §5.2.2.3",
        why: "must-understand sets no-store aside for a status that is understood; theirs does not know it",
        when: |d| d.ours.stored && d.answered().any(|one| one == "must-understand"),
    },
    Explained {
        of: LIVES,
        section: "RFC 9111 §5.2.2.8",
        why: "proxy-revalidate speaks of what is stale; theirs takes it for stale at once",
        when: |d| d.theirs.lifetime == 0 && d.answered().any(|one| one == "proxy-revalidate"),
    },
    Explained {
        of: LIVES,
        section: "RFC 9111 §5.4",
        why: "Pragma in a response means nothing beside an explicit lifetime; theirs takes it for no-cache",
        when: |d| {
            d.theirs.lifetime == 0 && !d.case.answered.has("cache-control") && d.case.answered.has("pragma")
        },
    },
    Explained {
        of: LIVES,
        section: "RFC 9110 §5.6.7",
        why: "three forms of a date are read, and no zone but GMT; theirs reads those of mail",
        when: |d| ["date", "expires", "last-modified"].iter().any(|name| d.case.answered.has_odd_date(name)),
    },
    Explained {
        of: LIVES,
        section: "RFC 9111 §4.2.1",
        why: "of several Expires the earliest counts; theirs takes the first",
        when: |d| d.case.answered.repeats("expires"),
    },
    Explained {
        of: LIVES,
        section: "RFC 9110 §5.3",
        why: "several dates in a field for one are none; theirs takes the first",
        when: |d| ["date", "last-modified"].iter().any(|name| d.case.answered.repeats(name)),
    },
    Explained {
        of: LIVES,
        section: "RFC 9111 §4.2.2",
        why: "a guess ends after a day; theirs goes on for a tenth of any time",
        when: |d| d.ours.lifetime == 86_400 && d.theirs.lifetime > 86_400 && d.is_guess(),
    },
    // ---- what is stored ----
    Explained {
        of: STORED,
        section: "RFC 9111 §3",
        why: "any final status may be stored; theirs knows fourteen",
        when: |d| {
            const THEIRS: [u16; 14] = [200, 203, 204, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414, 501];
            d.ours.stored && !THEIRS.contains(&d.case.status)
        },
    },
    Explained {
        of: STORED,
        section: "RFC 9110 §9.3.2, §9.3.3",
        why: "the answer to a HEAD has no body to store, and a POST is no GET; theirs stores both",
        when: |d| d.ours.why == Some(NoStore::Method) && ["HEAD", "POST"].contains(&d.case.method),
    },
    Explained {
        of: STORED,
        section: "RFC 9111 §3, §4.2.2",
        why: "what nobody gives a life is of no use; theirs stores it, stale at once",
        when: |d| {
            let no_life = matches!(d.ours.why, Some(NoStore::NoFreshness | NoStore::Status));
            no_life && d.theirs.lifetime == 0
        },
    },
    Explained {
        of: STORED,
        section: "RFC 9111 §4.3.1",
        why: "what is stale when it comes and has no validator is of no use; theirs stores it",
        when: |d| {
            let useless = matches!(d.ours.why, Some(NoStore::AlreadyStale | NoStore::NoCache));
            useless && d.theirs.lifetime == 0
        },
    },
    Explained {
        of: STORED,
        section: "RFC 9111 §4.2.2",
        why: "no guess is made against Pragma: no-cache; theirs makes it beside Cache-Control",
        when: |d| {
            let no_life = matches!(d.ours.why, Some(NoStore::NoFreshness | NoStore::Status));
            no_life && d.is_guess() && d.case.answered.has("pragma")
        },
    },
    Explained {
        of: STORED,
        section: "RFC 9111 §4.1",
        why: "what no request can be known to match is not stored (`*`, no field name); theirs stores it unused",
        when: |d| matches!(d.ours.why, Some(NoStore::VaryStar | NoStore::VaryInvalid)),
    },
    Explained {
        of: STORED,
        section: "RFC 9111 §7.3",
        why: "one visitor's cookie is not for the next (set_cookie: refuse); theirs stores it, stale at once",
        when: |d| d.ours.why == Some(NoStore::SetCookie),
    },
    // ---- how old it is ----
    Explained {
        of: &[About::Age],
        section: "RFC 9111 §4.2.3",
        why: "the apparent age by Date counts where it is larger; theirs ignores Date",
        when: |d| d.apparent_age() > d.age_value() + d.case.delay && d.ours.age == d.age_by_the_letter(),
    },
    Explained {
        of: &[About::Age],
        section: "RFC 9111 §4.2.3",
        why: "the time that the exchange took counts; theirs does not see it",
        when: |d| d.case.delay > 0 && d.ours.age == d.age_by_the_letter(),
    },
    Explained {
        of: &[About::Age],
        section: "RFC 9111 §5.1, §1.2.2",
        why: "of several ages the first counts, what is no number does not, 2^31 is the largest; theirs differs in each",
        when: |d| {
            let plain = |age: &str| age.len() < 9 && age.bytes().all(|byte| byte.is_ascii_digit());
            let odd = d.case.answered.lines("age").next().is_some_and(|age| !plain(age));
            odd && d.ours.age == d.age_by_the_letter()
        },
    },
    // ---- what may answer the second request ----
    Explained {
        of: &[About::Selected],
        section: "RFC 9110 §9.3.2",
        why: "a HEAD is answered from a stored GET; theirs wants the same method",
        when: |d| d.case.then_method == "HEAD" && d.ours.selected,
    },
    Explained {
        of: &[About::Selected],
        section: "RFC 9111 §4.1",
        why: "fields that Vary names are normalised (blanks, codings, languages, cookies); theirs compares bytes",
        when: |d| d.ours.selected && d.case.answered.has("vary"),
    },
    Explained {
        of: &[About::Selected],
        section: "RFC 9111 §4.1",
        why: "every line of a field that Vary names counts; theirs compares the first",
        when: |d| {
            let repeats = |name: &str| d.case.asked.repeats(name) || d.case.then.repeats(name);
            d.theirs.selected && d.varies_by().any(|name| repeats(&name))
        },
    },
    Explained {
        of: &[About::Selected],
        section: "RFC 9110 §12.5.5",
        why: "with Origin and without are told apart whatever Vary says (CORS answers differ); theirs trusts Vary",
        when: |d| d.theirs.selected && d.case.asked.has("origin") | d.case.then.has("origin"),
    },
    Explained {
        of: &[About::Selected],
        section: "RFC 9110 §12.5.3",
        why: "nobody gets a coding that he does not accept, whatever Vary says; theirs trusts Vary",
        when: |d| d.theirs.selected && d.case.answered.has("content-encoding"),
    },
    Explained {
        of: &[About::Fresh],
        section: "RFC 9111 §4.2.2",
        why: "a guess has fractions of a second; theirs drops them",
        when: |d| d.ours.fresh && d.is_guess() && d.ours.age == d.ours.lifetime,
    },
    Explained {
        of: REUSED,
        section: "RFC 9111 §5.2.2.4",
        why: "no-cache forbids use without validation, max-stale or not; theirs gives in to max-stale",
        when: |d| {
            const NO_CACHE: WhyValidate = WhyValidate::NoCache;
            let asks =
                matches!(d.ours.reuse, Some(Reuse::Validate(NO_CACHE) | Reuse::OnlyIfCached(NO_CACHE)));
            asks && d.asks("max-stale")
        },
    },
    Explained {
        of: REUSED,
        section: "RFC 9111 §5.2.2.8, §5.2.2.10",
        why: "proxy-revalidate and s-maxage forbid stale use like must-revalidate; theirs gives in to max-stale",
        when: |d| {
            let forbids = |one: &str| one == "proxy-revalidate" || one.starts_with("s-maxage");
            d.theirs.reused && d.asks("max-stale") && d.answered().any(forbids)
        },
    },
    Explained {
        of: REUSED,
        section: "RFC 5861 §3",
        why: "within stale-while-revalidate it is served stale; theirs does not know it",
        when: |d| d.ours.reuse == Some(Reuse::StaleWhileRevalidate),
    },
    Explained {
        of: REUSED,
        section: "RFC 9111 §5.2.1.2",
        why: "max-stale=5 is no more than five seconds, the fifth included; theirs stops before it",
        when: |d| {
            let late = d.ours.age.saturating_sub(d.ours.lifetime);
            d.ours.reuse == Some(Reuse::StaleByRequest)
                && d.then().any(|one| one.replace('"', "") == format!("max-stale={late}"))
        },
    },
    Explained {
        of: REUSED,
        section: "RFC 9111 §5.2.1.1",
        why: "max-age=0 asks the origin even in the instant of arrival, as a reload means it; theirs serves what has age 0",
        when: |d| d.ours.age == 0 && d.then().any(|one| one == "max-age=0"),
    },
    Explained {
        of: REUSED,
        section: "RFC 8246 §2",
        why: "a reload need not ask for what is immutable and fresh; theirs asks",
        when: |d| d.ours.fresh && d.asks("max-age") && d.answered().any(|one| one == "immutable"),
    },
    Explained {
        of: REUSED,
        section: "RFC 9111 §5.4",
        why: "Pragma in a request counts only where there is no Cache-Control; theirs hears both",
        when: |d| d.ours.reused && d.case.then.has("pragma") && d.case.then.has("cache-control"),
    },
    Explained {
        of: REUSED,
        section: "RFC 9111 §5.4",
        why: "Pragma has no case, and every line counts; theirs looks for no-cache in lower case in the first",
        when: |d| {
            let overlooked = d.case.then.lines("pragma").next() != Some("no-cache");
            let said = d.case.then.lines("pragma").any(|line| line.eq_ignore_ascii_case("no-cache"));
            overlooked && said && !d.case.then.has("cache-control")
        },
    },
    // ---- how it is validated ----
    Explained {
        of: &[About::Conditions],
        section: "RFC 9111 §4.3.1, §4.3.2",
        why: "only validators of what is stored go to the origin; theirs sends the client's along",
        when: |d| d.case.then.has(&d.field),
    },
    Explained {
        of: &[About::Conditions],
        section: "RFC 9111 §4.3.1",
        why: "a fill asks for the whole by what is stored, whatever the client's If-Match; theirs leaves weak ones out",
        when: |d| d.case.then.has("if-match"),
    },
    Explained {
        of: VALIDATORS,
        section: "RFC 9110 §8.8.3",
        why: "what is no entity tag (`W/1851`) is none; theirs compares and sends it",
        when: |d| {
            let unquoted = |fields: &Fields| fields.lines("etag").any(|tag| !tag.contains('"'));
            unquoted(&d.case.answered) || (d.about == About::Confirmed && unquoted(&d.case.confirmed))
        },
    },
    Explained {
        of: VALIDATORS,
        section: "RFC 9110 §5.3",
        why: "several validators in a field for one are none; theirs takes the first",
        when: |d| {
            let twice = |fields: &Fields| fields.repeats("etag") || fields.repeats("last-modified");
            twice(&d.case.answered) || (d.about == About::Confirmed && twice(&d.case.confirmed))
        },
    },
    Explained {
        of: &[About::Conditions],
        section: "RFC 9110 §8.8.2",
        why: "a Last-Modified that is no date is not sent; theirs sends any text",
        when: |d| d.field == "if-modified-since" && d.case.answered.has_odd_date("last-modified"),
    },
    Explained {
        of: &[About::Confirmed],
        section: "RFC 9111 §4.3.3, §4.3.4",
        why: "a 304 that contradicts no validator confirms the one response it was asked about; theirs wants one in common",
        when: |d| {
            let silent = |name: &str| !(d.case.confirmed.has(name) && d.case.answered.has(name));
            d.ours.confirmed && !d.case.confirmed.has("etag") && silent("last-modified")
        },
    },
    Explained {
        of: &[About::Confirmed],
        section: "RFC 9111 §4.3.4, RFC 9110 §8.8.3.2",
        why: "a strong tag confirms only the same strong one; theirs overlooks that the stored one is weak",
        when: |d| {
            let weak = d.case.answered.lines("etag").any(|tag| tag.starts_with("W/"));
            !d.ours.confirmed && weak && d.case.confirmed.lines("etag").any(|tag| tag.starts_with('"'))
        },
    },
    Explained {
        of: &[About::Confirmed],
        section: "RFC 9111 §4.3.4",
        why: "a tag that the stored response has not got confirms nothing; theirs goes by Last-Modified if it is weak",
        when: |d| !d.ours.confirmed && d.case.confirmed.has("etag") && !d.case.answered.has("etag"),
    },
    // ---- which fields are kept ----
    Explained {
        of: &[About::Merged],
        section: "RFC 9111 §3.2",
        why: "a 304 adds the fields that were not there; theirs replaces only",
        when: |d| !d.case.answered.has(&d.field) && d.case.confirmed.has(&d.field),
    },
    Explained {
        of: &[About::Merged],
        section: "RFC 9111 §3.2",
        why: "a digest of the stored bytes stays theirs",
        when: |d| d.field == "content-digest",
    },
    Explained {
        of: FIELDS,
        section: "RFC 9110 §5.3",
        why: "every line of a field is kept; theirs keeps one",
        when: |d| {
            let merged = d.about == About::Merged && d.case.confirmed.repeats(&d.field);
            merged || d.case.answered.repeats(&d.field)
        },
    },
    Explained {
        of: FIELDS,
        section: "RFC 9111 §3.1",
        why: "cookies are set once, and fields of one hop are none of the next (Proxy-Connection too); theirs keeps them",
        when: |d| ["set-cookie", "proxy-connection"].contains(&d.field.as_str()),
    },
    Explained {
        of: FIELDS,
        section: "RFC 9110 §7.6.1",
        why: "Connection strips nothing that the meaning rests on; theirs drops Cache-Control",
        when: |d| d.field == "cache-control" && d.case.names_in_connection("cache-control"),
    },
    Explained {
        of: &[About::Merged],
        section: "RFC 9110 §7.6.1",
        why: "what the Connection of the 304 names is not the next one's; theirs goes by the stored one",
        when: |d| d.case.names_in_connection(&d.field),
    },
    Explained {
        of: FIELDS,
        section: "RFC 9111 §5.2.2.4, §5.2.2.7",
        why: "fields that no-cache and private name are not stored; theirs keeps them",
        when: |d| {
            let named = ["private=\"x-", "no-cache=\"x-"];
            let says = |line: &str| named.iter().any(|start| line.contains(start));
            d.field.starts_with("x-") && d.case.answered.lines("cache-control").any(says)
        },
    },
    Explained {
        of: FIELDS,
        section: "RFC 9111 §5.5",
        why: "Warning is obsolete and passes as any field; theirs drops the 1xx ones",
        when: |d| d.field == "warning",
    },
];

fn name(directive: &str) -> &str {
    directive.split(['=', ' ']).next().unwrap_or_default()
}

/// Whether the directive takes a number, in requests or responses.
fn is_number(name: &str) -> bool {
    ["max-age", "s-maxage", "max-stale", "min-fresh"].contains(&name)
}

fn is_readable(directive: &str) -> bool {
    let Some((name, number)) = directive.split_once('=') else { return directive == "max-stale" };
    let digits = number.trim_matches('"');
    is_number(name) && !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

impl Fields {
    fn has_odd_date(&self, name: &str) -> bool {
        self.lines(name).any(|date| !(date.len() == 29 && date.ends_with("GMT")))
    }
}

impl Case {
    /// Whether a Connection field of the response, or of the 304, names it.
    fn names_in_connection(&self, name: &str) -> bool {
        let lines =
            [&self.answered, &self.confirmed].into_iter().flat_map(|fields| fields.lines("connection"));
        lines.flat_map(|line| line.split(',')).any(|named| named.trim() == name)
    }
}

impl Disagreement<'_> {
    /// The Cache-Control lines that bear on the question.
    fn said(&self) -> impl Iterator<Item = &str> {
        let other = match self.about {
            About::Stored => Some(&self.case.asked),
            About::Reused => Some(&self.case.then),
            _ => None,
        };
        let answered = self.case.answered.lines("cache-control");
        answered.chain(other.into_iter().flat_map(|fields| fields.lines("cache-control")))
    }

    fn directives(&self) -> impl Iterator<Item = &str> {
        self.said().flat_map(|line| line.split(',')).map(str::trim)
    }

    /// What the response says, directive by directive.
    fn answered(&self) -> impl Iterator<Item = &str> {
        self.case.answered.lines("cache-control").flat_map(|line| line.split(',')).map(str::trim)
    }

    /// What the second request says, directive by directive.
    fn then(&self) -> impl Iterator<Item = &str> {
        self.case.then.lines("cache-control").flat_map(|line| line.split(',')).map(str::trim)
    }

    fn asks(&self, directive: &str) -> bool {
        self.then().any(|one| name(one) == directive)
    }

    fn is_guess(&self) -> bool {
        let explicit = ["max-age", "s-maxage", "no-cache"];
        !self.answered().any(|one| explicit.contains(&name(one))) && !self.case.answered.has("expires")
    }

    fn varies_by(&self) -> impl Iterator<Item = String> {
        let names = self.case.answered.lines("vary").flat_map(|line| line.split(','));
        names.map(|name| name.trim().to_ascii_lowercase())
    }

    /// RFC 9111 §4.2.3, from the case alone.
    fn age_by_the_letter(&self) -> u64 {
        self.apparent_age().max(self.age_value() + self.case.delay) + self.case.later
    }

    fn apparent_age(&self) -> u64 {
        let mut dates = self.case.answered.lines("date");
        let (Some(date), None) = (dates.next(), dates.next()) else { return 0 };
        let Ok(date) = httpdate::parse_http_date(date) else { return 0 };
        let sent =
            date.duration_since(std::time::UNIX_EPOCH).expect("the pools hold no older ones").as_secs();
        RECEIVED.saturating_sub(sent)
    }

    fn age_value(&self) -> u64 {
        let first = self.case.answered.lines("age").next().and_then(|line| line.split(',').next());
        let digits = first.filter(|age| age.bytes().all(|byte| byte.is_ascii_digit()));
        digits.and_then(|age| age.parse().ok()).map_or(0, |age: u64| age.min(1 << 31))
    }
}
