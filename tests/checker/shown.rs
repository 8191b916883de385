//! What a body of a versioned origin shows.

/// The versions that a body shows, by item.
pub(crate) type Shown = Vec<(usize, u64)>;

/// Reads `"id":3,"version":17` wherever it stands.
pub(crate) fn shown(body: &str) -> Shown {
    let number = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok();
    let entries = body.split("\"id\":").skip(1);
    entries
        .filter_map(|entry| {
            let (_, version) = entry.split_once("\"version\":")?;
            Some((number(entry)? as usize, number(version)?))
        })
        .collect()
}
