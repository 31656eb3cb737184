//! The keys that a protocol looks for, as a table: those of the message itself first, then those inside objects, each
//! object's together. Built once by `protocol`; `read` and `inside` look keys up in it, and hold a value for each.

use super::path::{JsonPlace, places};
use super::protocol::Forward;
use super::text::Text;
use std::ops::Range;

/// What a field is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Type,
    Recipient,
    Room,
    Transaction,
    Sender,
}

impl Role {
    pub(super) const COUNT: usize = 5;
    const ALL: [Self; Self::COUNT] =
        [Self::Type, Self::Recipient, Self::Room, Self::Transaction, Self::Sender];
}

/// A key that a protocol uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FieldKey {
    pub(super) name: Box<str>,
    /// What its value is used for, besides being relayed.
    pub(super) role: Option<Role>,
    /// Its value may be a number.
    pub(super) number: bool,
    /// As it is relayed: in quotes, escaped, with the colon.
    pub(super) written: Box<str>,
    /// The keys of the object that its value is; those that follow the message's own are counted on.
    pub(super) inside: Range<usize>,
    /// The key whose value it stands in.
    pub(super) parent: usize,
}

impl FieldKey {
    /// Whether paths lead on into its value.
    #[inline(always)]
    pub(super) fn leads_inside(&self) -> bool {
        self.inside.end != 0
    }
}

/// A place where a field may stand, behind the first one of `FieldTable::roles`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Alternative {
    pub(super) role: Role,
    /// Of its key.
    pub(super) index: usize,
    /// The key is the field, not its value.
    pub(super) presence: bool,
}

/// A sender inside an object: what the object is, and what is put into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Inserted {
    /// Of the message's own key whose value holds it.
    pub(super) index: usize,
    /// The key in that object, which no client may write.
    pub(super) guard: Box<str>,
    /// Everything before the sender, and behind it.
    pub(super) before: Box<str>,
    pub(super) behind: Box<str>,
    /// The sender is written as a number where it is one.
    pub(super) number: bool,
}

/// All keys of a protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FieldTable {
    /// Those of the message itself; those that are relayed come first, in the order in which they are.
    pub(super) keys: Box<[FieldKey]>,
    /// Those inside objects.
    pub(super) nested: Box<[FieldKey]>,
    /// How many of `keys` are relayed; `None` if all members are.
    pub(super) forwarded: Option<usize>,
    /// By role, the key whose value is the field; `None` if there is no such field or its first place is no value.
    pub(super) roles: [Option<usize>; Role::COUNT],
    /// Where else to look, in order, for a field that does not stand at its key of `roles`.
    pub(super) alternatives: Box<[Alternative]>,
    pub(super) senders: Box<[Inserted]>,
}

/// A key while the table is built.
struct FieldNode<'a> {
    name: &'a str,
    parent: Option<usize>,
    role: Option<Role>,
    number: bool,
}

impl FieldTable {
    /// Takes any fields, also those that `path::check` refuses; the table is of no use then.
    pub(super) fn new(fields: [Option<&str>; Role::COUNT], forward: Forward<'_>) -> Self {
        let mut nodes = Vec::new();
        let sender = fields.last().copied().flatten();
        let own_sender = sender.and_then(|sender| places(sender).find(|place| place.keys.len() == 1));
        let own_sender = own_sender.and_then(|place| place.keys.first().copied());
        let forwarded = match forward {
            Forward::All => None,
            Forward::Only(listed) => {
                let unlisted = own_sender.filter(|sender| !listed.contains(sender));
                for key in unlisted.into_iter().chain(listed.iter().copied()) {
                    node(&mut nodes, None, key);
                }
                Some(nodes.len())
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
        let mut table = Self { forwarded, roles, alternatives: alternatives.into(), ..Self::default() };
        table.lay_out(&nodes);
        table.senders =
            sender.into_iter().flat_map(places).filter_map(|place| table.inserted(&place)).collect();
        table
    }

    /// Puts the keys in order: the message's own, then each object's.
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

    /// Which of the message's own keys this is.
    #[inline]
    pub(super) fn find(&self, key: Text<'_>) -> Option<(usize, &FieldKey)> {
        self.keys.iter().enumerate().find(|(_, known)| key.eq_str(&known.name))
    }

    /// Which of an object's keys this is.
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
        Self { name: name.into(), role, number, written: written(name).into(), inside, parent }
    }
}

/// The node of a key, which is made if there is none.
fn node<'a>(nodes: &mut Vec<FieldNode<'a>>, parent: Option<usize>, name: &'a str) -> usize {
    let known = nodes.iter().position(|node| node.parent == parent && node.name == name);
    known.unwrap_or_else(|| {
        nodes.push(FieldNode { name, parent, role: None, number: false });
        nodes.len() - 1
    })
}

/// The node where a place ends. A sender inside an object ends below the object: nothing there may be the client's.
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

/// A key as it is written: in quotes, escaped, with the colon.
fn written(key: &str) -> String {
    let mut written = String::from("\"");
    super::relay::escaped(key, |piece| written.push_str(piece));
    written.push_str("\":");
    written
}
