//! Every story on the real engine, and those that only a real one can tell.

tests::stories!(testkit::machines::Kind::Gvisor);

tests::stories! { testkit::lab::Lab::on(testkit::machines::Kind::Gvisor) =>
    limits::what_takes_too_much_memory_is_killed_and_the_sandbox_lives,
    limits::what_the_host_kills_for_memory_ends_with_that_reason,
    limits::a_full_disk_is_an_error_inside_and_the_sandbox_lives,
    bundles::a_full_disk_refuses_files_and_leaves_no_half,
    pty::vim_htop_and_less_follow_the_size_of_their_terminal,
    limits::too_many_processes_are_refused_inside_and_the_sandbox_lives,
    limits::nothing_outside_can_be_reached,
    limits::the_inside_sees_its_own_size_and_no_other,
    limits::a_launcher_that_is_killed_takes_no_sandbox_with_it,
    templates::what_an_image_starts_runs_in_its_sandboxes_until_the_template_says_otherwise,
    limits::an_agent_that_is_killed_ends_its_sandbox_with_a_reason,
    snapshots::copies_share_no_name_no_randomness_and_no_moment_unless_they_want_to,
}
