//! Every story on the real engine, and those that only a real one can tell.

tests::stories!(testkit::machines::Kind::Gvisor);
