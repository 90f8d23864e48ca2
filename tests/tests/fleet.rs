//! Every story on the fake engine: the real agent, node and control, no privileges.

tests::stories!(testkit::machines::Kind::Fake);
