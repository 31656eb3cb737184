//! Counts the situations that the runs reached, so that a test that stops reaching one fails.

/// Defines a struct of counts, each with a text for the message about its absence, and of nested structs of that
/// kind.
macro_rules! reached {
    ($($count:ident: $what:literal,)+ $(; $($part:ident: $of:ty,)+)?) => {
        /// The situations that the runs reached.
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
