//! Lists of all names for the host. They are copied in pieces, because the links wait for the thread meanwhile.

use std::collections::VecDeque;

use super::directory::Directory;
pub use super::name_map::PARTS;
use crate::sync::mutant;

/// So many names are looked at in one turn, and what the last part has beyond.
const PIECE: usize = 4096;

/// Who waits for a list.
pub type Listed = Box<dyn FnOnce(Vec<String>) + Send>;

/// The lists that are to be copied.
#[derive(Default)]
pub struct Lists {
    /// With the most names. `Cluster` lets in one at a time.
    waiting: VecDeque<(usize, Listed)>,
    /// What the first one has got.
    copied: Vec<String>,
    /// The part of the directory that comes next.
    part: usize,
}

impl Lists {
    /// A list of at most `limit` names.
    pub fn ask(&mut self, limit: usize, reply: Listed) {
        self.waiting.push_back((limit, reply));
    }

    /// Copies a piece of the names that are to be listed, by name and owner's incarnation. True: there is more to do.
    pub fn turn(&mut self, directory: &Directory, is_listed: impl Fn(&str, u64) -> bool) -> bool {
        let Some(limit) = self.waiting.front().map(|(limit, _)| *limit) else { return false };
        let limit = if mutant("cluster-list-uncapped") { usize::MAX } else { limit };
        let mut seen = 0;
        while seen < PIECE && self.copied.len() < limit && self.part < PARTS {
            let room = limit - self.copied.len();
            let part = directory.part(self.part).inspect(|_| seen += 1);
            let listed = part.filter(|(name, incarnation)| is_listed(name, *incarnation));
            self.copied.extend(listed.take(room).map(|(name, _)| name.to_owned()));
            self.part += 1;
        }
        if (self.copied.len() >= limit || self.part == PARTS)
            && let Some((_, reply)) = self.waiting.pop_front()
        {
            self.part = 0;
            reply(std::mem::take(&mut self.copied));
        }
        !self.waiting.is_empty()
    }
}

#[cfg(all(test, not(corelane_loom)))]
mod tests {
    use super::*;
    use crate::cluster::directory::Owner;
    use std::collections::HashSet;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    const OWNER: Owner = Owner { incarnation: 2, claim: 1, mac: [0; 16] };

    fn names(directory: &mut Directory, kind: &str, count: usize) {
        for number in 0..count {
            directory.name(&format!("{kind} {number}"), 1 + number as u64, OWNER, Duration::ZERO);
        }
    }

    #[test]
    fn a_long_list_is_copied_in_pieces_and_has_every_name_once_that_stays() {
        let mut directory = Directory::new(1, 1_000_000, 1);
        names(&mut directory, "stays", 20_000);
        names(&mut directory, "leaves", 20_000);
        let (mut lists, (sender, lists_there)) = (Lists::default(), channel());
        for limit in [usize::MAX, 3, 0] {
            let sender = sender.clone();
            lists.ask(limit, Box::new(move |list| sender.send(list).unwrap()));
        }
        let (mut turns, mut before) = (0, 0);
        let all = loop {
            lists.turn(&directory, |_, _| true);
            turns += 1;
            if let Ok(list) = lists_there.try_recv() {
                break list;
            }
            let copied = lists.copied.len() - before;
            assert!(copied < PIECE + 1_000, "{copied} in one turn");
            before = lists.copied.len();
            // Names come, so that the maps grow, and others go.
            for number in 2_000 * (turns - 1)..2_000 * turns {
                directory.name(&format!("comes {number}"), 1, OWNER, Duration::ZERO);
                directory.name_gone(&format!("leaves {number}"), u64::MAX);
            }
        };
        assert!(turns >= 5, "{turns} turns");
        let kinds: HashSet<&String> = all.iter().collect();
        assert_eq!(kinds.len(), all.len(), "none twice");
        assert_eq!(all.iter().filter(|name| name.starts_with("stays ")).count(), 20_000);
        assert!(lists.turn(&directory, |_, _| true) && !lists.turn(&directory, |_, _| true));
        let lengths: Vec<usize> = lists_there.try_iter().map(|list| list.len()).collect();
        assert_eq!(lengths, [3, 0]);
    }

    #[test]
    fn names_that_are_not_to_be_listed_count_as_work_too() {
        let mut directory = Directory::new(1, 1_000_000, 1);
        names(&mut directory, "dead", 20_000);
        names(&mut directory, "one", 1);
        let (mut lists, (sender, list)) = (Lists::default(), channel());
        lists.ask(10, Box::new(move |list| sender.send(list).unwrap()));
        let mut turns = 1;
        while lists.turn(&directory, |name, incarnation| incarnation == 2 && !name.starts_with("dead")) {
            turns += 1;
        }
        assert_eq!(list.recv().unwrap(), ["one 0"]);
        assert!(turns >= 4, "{turns} turns");
    }
}
