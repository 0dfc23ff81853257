//! Images that are not what they say.
