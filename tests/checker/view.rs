//! What shows items: each view is outdated by a way of its own.

/// Items; each has one version and many views.
pub(crate) const ITEMS: usize = 12;

/// Items of one group.
const GROUP: usize = 4;

/// Items whose changes take effect late; few, so that each is asked for again and again while one is on its way.
pub(crate) const SLOW: usize = 2;

/// A kind of page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum View {
    /// By the tag of its route, and its own path.
    Item,
    /// Several items: by values in its body.
    Group,
    /// By what its fields name; confirmed by its date, which never changes.
    Named,
    /// By a tag; confirmed by its date.
    Short,
    /// By a tag, for each reader apart.
    Mine,
    /// By prefixes and globs, and derived from items.
    Deep,
    /// Derived from every item.
    Stats,
    /// By its own path and nothing else.
    Plain,
    /// Softly.
    Soft,
    /// By its own path; writes are answered before they take effect.
    Late,
    /// By its own path; writes fail, and take effect at last.
    Doubt,
}

impl View {
    pub(crate) const ALL: [Self; 11] = [
        Self::Item,
        Self::Group,
        Self::Named,
        Self::Short,
        Self::Mine,
        Self::Deep,
        Self::Stats,
        Self::Plain,
        Self::Soft,
        Self::Late,
        Self::Doubt,
    ];

    /// What readers ask for; those twice in which less is stored, or counts for fewer.
    pub(crate) const ASKED: [Self; 13] = [
        Self::Item,
        Self::Group,
        Self::Named,
        Self::Short,
        Self::Short,
        Self::Mine,
        Self::Deep,
        Self::Stats,
        Self::Plain,
        Self::Soft,
        Self::Soft,
        Self::Late,
        Self::Doubt,
    ];

    /// Those that what outdates everything reaches for good.
    pub(crate) const PROMPT: [Self; 9] = [
        Self::Item,
        Self::Group,
        Self::Named,
        Self::Short,
        Self::Mine,
        Self::Deep,
        Self::Stats,
        Self::Plain,
        Self::Soft,
    ];

    /// Those that the tag of an item reaches, with what is derived from it.
    pub(crate) const TAGGED: [Self; 7] =
        [Self::Item, Self::Group, Self::Named, Self::Short, Self::Mine, Self::Deep, Self::Stats];

    /// The view that a path names, and the items that it shows.
    pub(crate) fn of(path: &str) -> Option<(Self, Vec<usize>)> {
        let mut parts = path.split('/').skip(1);
        let (view, id) = (parts.next()?, parts.next().and_then(|id| id.parse::<usize>().ok()));
        let view = match view {
            "items" => Self::Item,
            "groups" => Self::Group,
            "named" => Self::Named,
            "short" => Self::Short,
            "mine" => Self::Mine,
            "deep" => Self::Deep,
            "stats" => Self::Stats,
            "plain" => Self::Plain,
            "soft" => Self::Soft,
            "late" => Self::Late,
            "doubt" => Self::Doubt,
            _ => return None,
        };
        let items = match (view, id) {
            (Self::Stats, _) => (0..ITEMS).collect(),
            (Self::Group, Some(id)) => (id * GROUP..(id + 1) * GROUP).collect(),
            (_, Some(id)) => vec![id],
            (_, None) => return None,
        };
        Some((view, items))
    }

    /// Where the view of an item is; of a slow one, that of one of the few.
    pub(crate) fn path(self, item: usize) -> String {
        match self {
            Self::Item => format!("/items/{item}"),
            Self::Group => format!("/groups/{}", item / GROUP),
            Self::Named => format!("/named/{item}"),
            Self::Short => format!("/short/{item}"),
            Self::Mine => format!("/mine/{item}"),
            Self::Deep => format!("/deep/{item}/a/b"),
            Self::Stats => "/stats".to_owned(),
            Self::Plain => format!("/plain/{item}"),
            Self::Soft => format!("/soft/{item}"),
            Self::Late => format!("/late/{}", item % SLOW),
            Self::Doubt => format!("/doubt/{}", item % SLOW),
        }
    }

    /// Whether writes to it take effect after they were answered. What is fetched until then is as old as before, and given
    /// to who asked for it; what must not happen is that it is kept.
    pub(crate) fn is_slow(self) -> bool {
        matches!(self, Self::Late | Self::Doubt)
    }
}
