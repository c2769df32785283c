//! Maven's order of versions.
//!
//! Source: the documentation of `ComparableVersion` in Maven's artifact library, 3.8. Everything is a version.

use std::cmp::Ordering;

use super::{compare_numbers, is_number};

pub(super) fn compare(a: &str, b: &str) -> Option<Ordering> {
    let is_version = |text: &str| !text.trim().is_empty();
    let [list_a, list_b] = [a, b].map(|text| List::parse(&text.trim().to_lowercase()));
    (is_version(a) && is_version(b)).then(|| list_a.compare(&list_b))
}

/// Parts with dots between them; a hyphen, each change between digits and letters, and a word that ends the version or
/// stands before digits, begins a list in the list.
#[derive(Debug, Default)]
struct List {
    items: Vec<Item>,
    /// Always the last one of the list.
    inner: Option<Box<List>>,
}

#[derive(Debug)]
enum Item {
    /// Digits without zeros in front.
    Number(String),
    Word(Qualifier),
}

/// A word, in the order of words.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Qualifier {
    /// One that Maven knows, by its place in the order.
    Known(u8),
    /// Any other, in the order of UTF-16.
    Other(Vec<u16>),
}

/// The place of a release without any word.
const RELEASE: Qualifier = Qualifier::Known(5);

impl List {
    fn parse(version: &str) -> Self {
        // From the outermost list to the innermost.
        let mut lists = vec![Self::default()];
        let mut start = 0;
        let mut is_digit = false;
        let mut push = |item: Item, is_own_list: bool, opens: bool| {
            if is_own_list && lists.last().is_some_and(|list| !list.items.is_empty()) {
                lists.push(Self::default());
            }
            if let Some(list) = lists.last_mut() {
                list.items.push(item);
            }
            if opens {
                lists.push(Self::default());
            }
        };
        for (index, c) in version.char_indices() {
            match c {
                '.' | '-' => {
                    push(Item::parse(&version[start..index], false), false, c == '-');
                    start = index + 1;
                }
                _ => {
                    if c.is_ascii_digit() != is_digit && index > start {
                        push(Item::parse(&version[start..index], !is_digit), !is_digit, true);
                        start = index;
                    }
                    is_digit = c.is_ascii_digit();
                }
            }
        }
        if start < version.len() {
            push(Item::parse(&version[start..], false), !is_digit, false);
        }
        let innermost = lists.into_iter().rev().reduce(|inner, mut outer| {
            outer.inner = inner.normalise().map(Box::new);
            outer
        });
        innermost.and_then(Self::normalise).unwrap_or_default()
    }

    /// Drops what means nothing at the end, before the inner list; nothing is left of a list without meaning.
    fn normalise(mut self) -> Option<Self> {
        while self
            .items
            .last()
            .is_some_and(|item| item.compare_to_nothing().is_eq())
        {
            self.items.pop();
        }
        (!self.items.is_empty() || self.inner.is_some()).then_some(self)
    }

    fn compare(&self, other: &Self) -> Ordering {
        let (mut a, mut b) = (self.parts(), other.parts());
        loop {
            let order = match (a.next(), b.next()) {
                (None, None) => return Ordering::Equal,
                (Some(a), Some(b)) => a.compare(&b),
                (Some(a), None) => a.compare_to_nothing(),
                (None, Some(b)) => b.compare_to_nothing().reverse(),
            };
            if order.is_ne() {
                return order;
            }
        }
    }

    fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let items = self.items.iter().map(Part::Item);
        items.chain(self.inner.as_deref().map(Part::List))
    }
}

enum Part<'a> {
    Item(&'a Item),
    List(&'a List),
}

impl Part<'_> {
    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Item(a), Self::Item(b)) => a.compare(b),
            (Self::List(a), Self::List(b)) => a.compare(b),
            // Words come before lists, and lists before numbers.
            (Self::Item(Item::Word(_)), Self::List(_)) | (Self::List(_), Self::Item(Item::Number(_))) => {
                Ordering::Less
            }
            (Self::Item(Item::Number(_)), Self::List(_)) | (Self::List(_), Self::Item(Item::Word(_))) => {
                Ordering::Greater
            }
        }
    }

    fn compare_to_nothing(&self) -> Ordering {
        match self {
            Self::Item(item) => item.compare_to_nothing(),
            Self::List(list) => list
                .parts()
                .map(|part| part.compare_to_nothing())
                .find(|order| order.is_ne())
                .unwrap_or(Ordering::Equal),
        }
    }
}

impl Item {
    fn parse(text: &str, is_before_digit: bool) -> Self {
        if text.is_empty() || is_number(text) {
            Self::Number(text.trim_start_matches('0').to_owned())
        } else {
            Self::Word(Qualifier::parse(text, is_before_digit))
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => compare_numbers(a, b),
            (Self::Word(a), Self::Word(b)) => a.cmp(b),
            (Self::Word(_), Self::Number(_)) => Ordering::Less,
            (Self::Number(_), Self::Word(_)) => Ordering::Greater,
        }
    }

    fn compare_to_nothing(&self) -> Ordering {
        match self {
            Self::Number(digits) => compare_numbers(digits, ""),
            Self::Word(word) => word.cmp(&RELEASE),
        }
    }
}

impl Qualifier {
    fn parse(word: &str, is_before_digit: bool) -> Self {
        Self::Known(match word {
            "a" if is_before_digit => 0,
            "b" if is_before_digit => 1,
            "m" if is_before_digit => 2,
            "alpha" => 0,
            "beta" => 1,
            "milestone" => 2,
            "rc" | "cr" => 3,
            "snapshot" => 4,
            "ga" | "final" | "release" => return RELEASE,
            "sp" => 6,
            other => return Self::Other(other.encode_utf16().collect()),
        })
    }
}
