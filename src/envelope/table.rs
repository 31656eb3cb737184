//! The look-up table of a protocol's keys: first the message's own keys, then the keys inside objects, grouped by
//! object. `protocol` builds it once. `read` and `inside` look keys up in it and store one value per key.

use super::fields::{Forward, Role};
use super::names::Names;
use super::path::{JsonPlace, places};
use super::text::Text;
use std::ops::Range;

/// A key that a protocol uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FieldKey {
    pub(super) name: Box<str>,
    /// What the router uses its value for; `None` if the value is only relayed.
    pub(super) role: Option<Role>,
    /// The value may be a number.
    pub(super) number: bool,
    /// The member is relayed. The sender's own is not.
    pub(super) is_relayed: bool,
    /// The key in its relayed form: in quotes, escaped, with the colon.
    pub(super) written: Box<str>,
    /// The keys inside the object that is this key's value, as indices. Indices of nested keys continue after those
    /// of the message's own keys. 0..0 if paths do not lead through this key.
    pub(super) inside: Range<usize>,
    /// The key whose object contains this key.
    pub(super) parent: usize,
}

impl FieldKey {
    /// Whether paths lead through its value.
    #[inline(always)]
    pub(super) fn leads_inside(&self) -> bool {
        self.inside.end != 0
    }
}

/// A further place of a field, after the first place, which is in `FieldTable::roles`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Alternative {
    pub(super) role: Role,
    /// Index of its key.
    pub(super) index: usize,
    /// The field is the name of the key, not its value.
    pub(super) presence: bool,
}

/// A sender inside an object: the object, and the text to insert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Inserted {
    /// Index of the message's own key whose value is the object.
    pub(super) index: usize,
    /// The key in that object that no client may write.
    pub(super) guard: Box<str>,
    /// The text before and after the sender.
    pub(super) before: Box<str>,
    pub(super) behind: Box<str>,
    /// The sender is written as a number if its name is one.
    pub(super) number: bool,
}

/// All keys of a protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FieldTable {
    /// The message's own keys.
    pub(super) keys: Box<[FieldKey]>,
    /// Their names.
    names: Names,
    /// The keys inside objects.
    pub(super) nested: Box<[FieldKey]>,
    /// Members with other keys are relayed.
    pub(super) forwards_all: bool,
    /// Members with other keys are relayed, and there is a sender that they must not resemble.
    pub(super) guards_sender: bool,
    /// By role, the key whose value is the field. `None` if the protocol has no such field or its first place is a
    /// key name.
    pub(super) roles: [Option<usize>; Role::COUNT],
    /// The further places of fields, in order of preference.
    pub(super) alternatives: Box<[Alternative]>,
    pub(super) senders: Box<[Inserted]>,
    /// The start of a relayed message up to the sender: the brace, the key and a quote. `None` if the protocol has no
    /// sender of the message's own, or if it may be a number.
    pub(super) head: Option<Box<str>>,
}

/// A key while the table is built.
struct FieldNode<'a> {
    name: &'a str,
    parent: Option<usize>,
    role: Option<Role>,
    number: bool,
}

impl FieldTable {
    /// Accepts any fields, including those that `path::check` refuses; the table is then useless.
    pub(super) fn new(fields: [Option<&str>; Role::COUNT], forward: Forward<'_>) -> Self {
        let mut nodes = Vec::new();
        let sender = fields.last().copied().flatten();
        let listed = match forward {
            Forward::All => None,
            Forward::Only(listed) => {
                for key in listed {
                    node(&mut nodes, None, key);
                }
                Some(listed)
            }
        };
        let (mut roles, mut alternatives) = ([None; Role::COUNT], Vec::new());
        for ((role, field), first) in Role::ALL.into_iter().zip(fields).zip(&mut roles) {
            for (number, place) in field.into_iter().flat_map(places).enumerate() {
                let index = place_of(&mut nodes, &place, role);
                match number {
                    _ if role == Role::Sender && place.keys.len() > 1 => {}
                    0 if !place.presence => *first = Some(index),
                    _ => alternatives.push(Alternative { role, index, presence: place.presence }),
                }
            }
        }
        let forwards_all = listed.is_none();
        let mut table = Self {
            forwards_all,
            guards_sender: forwards_all && sender.is_some(),
            roles,
            alternatives: alternatives.into(),
            ..Self::default()
        };
        table.lay_out(&nodes);
        for key in &mut table.keys {
            let is_listed = listed.is_none_or(|listed| listed.contains(&&*key.name));
            key.is_relayed = is_listed && key.role != Some(Role::Sender);
        }
        let own = table.keys.iter().find(|key| key.role == Some(Role::Sender));
        let head = own.filter(|key| !key.number).map(|key| format!("{{{}\"", key.written).into());
        table.head = head;
        table.senders =
            sender.into_iter().flat_map(places).filter_map(|place| table.inserted(&place)).collect();
        table
    }

    /// Sorts the keys: first the message's own, then those of each object.
    fn lay_out(&mut self, nodes: &[FieldNode<'_>]) {
        let of = |parent| {
            (0..nodes.len()).filter(move |index| nodes.get(*index).is_some_and(|node| node.parent == parent))
        };
        let mut order: Vec<usize> = of(None).collect();
        let own = order.len();
        let mut keys: Vec<FieldKey> = Vec::new();
        while let Some(old) = order.get(keys.len()).copied() {
            let Some(node) = nodes.get(old) else { break };
            let start = order.len();
            order.extend(of(Some(old)));
            let inside = if order.len() > start { start..order.len() } else { 0..0 };
            let parent = node.parent.and_then(|parent| order.iter().position(|old| *old == parent));
            keys.push(FieldKey::new(node, inside, parent.unwrap_or(0)));
        }
        let moved = |old: usize| order.iter().position(|one| *one == old).unwrap_or(old);
        self.roles = self.roles.map(|index| index.map(moved));
        for alternative in &mut self.alternatives {
            alternative.index = moved(alternative.index);
        }
        self.nested = keys.split_off(own).into();
        self.names = Names::new(keys.iter().map(|key| &*key.name));
        self.keys = keys.into();
    }

    fn inserted(&self, place: &JsonPlace<'_>) -> Option<Inserted> {
        let [first, guard, deeper @ ..] = place.keys.as_slice() else { return None };
        let mut before = written(guard);
        for key in deeper {
            before.push('{');
            before.push_str(&written(key));
        }
        Some(Inserted {
            index: self.keys.iter().position(|key| *key.name == **first)?,
            guard: (*guard).into(),
            before: before.into(),
            behind: "}".repeat(deeper.len()).into(),
            number: place.number,
        })
    }

    /// Finds one of the message's own keys.
    pub(super) fn find(&self, key: Text<'_>) -> Option<(usize, &FieldKey)> {
        self.names.find(key).and_then(|index| Some((index, self.keys.get(index)?)))
    }

    /// Finds one of the message's own keys, written without escapes: the first `length` bytes of `bytes`.
    #[inline(always)]
    pub(super) fn find_plain(&self, bytes: &[u8], length: usize) -> Option<(usize, &FieldKey)> {
        self.names.find_at(bytes, length).and_then(|index| Some((index, self.keys.get(index)?)))
    }

    /// Finds one of an object's keys.
    pub(super) fn find_inside(&self, object: usize, key: Text<'_>) -> Option<(usize, &FieldKey)> {
        let mut inside = self.key(object)?.inside.clone();
        inside.find_map(|index| {
            self.key(index).filter(|known| key.eq_str(&known.name)).map(|known| (index, known))
        })
    }

    pub(super) fn key(&self, index: usize) -> Option<&FieldKey> {
        self.keys.get(index).or_else(|| self.nested.get(index - self.keys.len()))
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.keys.len() + self.nested.len()
    }
}

impl FieldKey {
    fn new(node: &FieldNode<'_>, inside: Range<usize>, parent: usize) -> Self {
        let FieldNode { name, role, number, .. } = *node;
        Self {
            name: name.into(),
            role,
            number,
            is_relayed: false,
            written: written(name).into(),
            inside,
            parent,
        }
    }
}

/// The node of a key; created if it does not exist.
fn node<'a>(nodes: &mut Vec<FieldNode<'a>>, parent: Option<usize>, name: &'a str) -> usize {
    let known = nodes.iter().position(|node| node.parent == parent && node.name == name);
    known.unwrap_or_else(|| {
        nodes.push(FieldNode { name, parent, role: None, number: false });
        nodes.len() - 1
    })
}

/// The node at the end of a place. For a sender inside an object this is the second key of the path: clients may write
/// nothing at that key or below it.
fn place_of<'a>(nodes: &mut Vec<FieldNode<'a>>, place: &JsonPlace<'a>, role: Role) -> usize {
    let depth = if role == Role::Sender { 2 } else { usize::MAX };
    let mut last = None;
    for key in place.keys.iter().take(depth) {
        last = Some(node(nodes, last, key));
    }
    let last = last.unwrap_or(0);
    if let Some(node) = nodes.get_mut(last).filter(|_| !place.presence) {
        node.role = Some(role);
        node.number = place.number || role == Role::Transaction;
    }
    last
}

/// A key in its relayed form: in quotes, escaped, with the colon.
fn written(key: &str) -> String {
    let mut written = String::from("\"");
    super::escape::escaped(key, |piece| written.push_str(piece));
    written.push_str("\":");
    written
}
