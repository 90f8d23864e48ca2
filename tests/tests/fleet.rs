//! Every story on the fake engine: the real agent, node and control, no privileges. Those of images from elsewhere need
//! some, to unpack; and no other test is to have the images that they take away.

tests::stories!(testkit::machines::Kind::Fake);

tests::stories! { testkit::lab::Lab::on(testkit::machines::Kind::Fake) =>
    templates::a_sandbox_waits_for_the_image_of_its_template,
    templates::a_lazy_template_is_fetched_with_its_first_sandbox,
    templates::a_pull_outlives_control_and_the_node,
    templates::an_image_goes_after_the_last_template_and_the_last_sandbox_that_need_it,
}

/// What is kept is the same in a bucket.
mod in_a_bucket {
    tests::stories_of_snapshots!(testkit::lab::Lab::on(testkit::machines::Kind::Fake).in_bucket());
}
