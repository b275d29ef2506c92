//! Teltonika AVL codecs.
