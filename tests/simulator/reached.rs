//! Counts of what the runs came across, so that a test which no longer reaches something fails.

/// A struct of counts, each with the words for its absence, and of such structs.
macro_rules! reached {
    ($($count:ident: $what:literal,)+ $(; $($part:ident: $of:ty,)+)?) => {
        /// What the runs came across.
        #[derive(Debug, Default)]
        pub struct Reached {
            $(pub $count: u64,)+
            $($(pub $part: $of,)+)?
        }

        impl Reached {
            pub fn add(&mut self, other: &Self) {
                $(self.$count += other.$count;)+
                $($(self.$part.add(&other.$part);)+)?
            }

            pub fn assert_everything_happened(&self) {
                $(assert!(self.$count > 0, "no {} in any run", $what);)+
                $($(self.$part.assert_everything_happened();)+)?
            }
        }
    };
}

pub(crate) use reached;
