//! Stories every engine must be able to tell.
//!
//! Each is a function of a [`testkit::lab::Builder`]; [`stories!`] makes a
//! test of each, on the engine named. `tests/fleet.rs` tells them on the fake
//! engine, `tests/metal.rs` on the real ones.

pub mod cli;
pub mod crash;
pub mod faults;
pub mod python;
pub mod stories;

/// The id in an answer that shows a sandbox.
pub fn id_of(sandbox: &serde_json::Value) -> String {
    sandbox["id"].as_str().expect("a sandbox has an id").to_owned()
}

/// Makes a test of every story, on one engine.
#[macro_export]
macro_rules! stories {
    ($kind:expr) => {
        $crate::stories_of_snapshots!(testkit::lab::Lab::on($kind));
        $crate::stories! { testkit::lab::Lab::on($kind) =>
            snapshots::a_bucket_keeps_what_sandboxes_were,
            life::a_program_runs_and_its_output_and_code_come_back,
            life::a_sandbox_is_shown_as_the_contract_says,
            life::environment_workdir_and_user_are_those_of_template_and_request,
            life::a_sandbox_ends_when_its_time_is_up,
            life::a_sandbox_is_given_more_time_and_less,
            life::an_extension_races_the_end_and_leaves_one_of_the_two,
            life::a_sandbox_knows_its_directories,
            life::delete_twice_is_as_good_as_once,
            life::two_sandboxes_share_nothing,
            life::a_hundred_creates_at_once_end_in_sandboxes_or_clean_refusals,
            boot::a_server_is_up_when_its_port_answers,
            boot::a_service_is_up_when_it_answers_well,
            boot::a_command_says_when_it_is_up,
            boot::one_that_ends_before_it_is_up_fails_the_create_with_its_last_words,
            boot::one_that_never_comes_up_fails_the_create_with_what_was_seen,
            boot::what_cannot_be_started_loses_the_sandbox_only_where_it_was_to_be_waited_for,
            boot::it_starts_as_the_user_in_the_workdir_with_the_environment_and_no_input,
            boot::it_is_asked_to_stop_before_the_machine_goes,
            boot::one_that_does_not_stop_or_answer_goes_all_the_same,
            boot::a_delete_does_not_wait_until_it_is_up,
            boot::a_node_that_restarts_meanwhile_starts_it_neither_twice_nor_never,
            exec::a_signal_and_a_timeout_are_told_apart_from_an_exit,
            exec::a_background_child_does_not_hold_the_answer,
            exec::long_commands_and_here_documents_work,
            exec::much_output_arrives_whole,
            exec::a_stream_ends_with_how_the_command_ended,
            exec::many_commands_at_once_keep_their_output_apart,
            exec::what_cannot_be_started_is_named,
            exec::input_is_read_to_its_end,
            exec::ten_megabytes_of_output_are_exact,
            exec::a_batch_runs_in_order_at_once_or_until_one_fails,
            exec::a_sandbox_is_made_to_run_something,
            exec::a_timeout_ends_the_whole_group,
            processes::a_server_is_listed_signalled_and_waited_for,
            processes::whoever_lost_a_connection_misses_nothing_and_sees_nothing_twice,
            processes::a_listener_that_stays_hears_five_megabytes_exactly,
            processes::what_nobody_listened_to_in_time_is_told_to_be_missing,
            processes::a_lost_connection_kills_unless_it_was_to_detach,
            processes::input_reaches_a_process_until_its_end,
            processes::ids_that_are_none_lead_nowhere,
            processes::a_machine_that_is_lost_under_a_stream_is_an_error_and_no_end,
            files::what_is_written_is_read_back,
            files::parts_of_a_file_are_read,
            files::missing_files_directories_and_denied_ones_are_told_apart,
            files::no_path_leaves_the_sandbox,
            operations::a_file_is_described_as_the_contract_says,
            operations::directories_are_made_listed_and_shown_as_trees,
            operations::files_are_found_by_name_and_by_what_is_in_them,
            operations::files_are_moved_copied_and_deleted,
            operations::permissions_are_the_users_to_change_and_bind_the_api_too,
            operations::edits_replace_text_and_show_what_changed,
            bundles::one_file_in_a_form_is_written_every_time,
            bundles::files_that_are_written_together_are_read_together,
            bundles::a_large_file_goes_both_ways_in_constant_memory,
            watch::what_happens_in_a_directory_is_heard_in_order,
            watch::new_directories_are_heard_however_deep,
            watch::a_listener_that_stalls_is_told_to_look_again,
            watch::whoever_lost_a_connection_watches_again,
            watch::what_cannot_be_watched_is_a_plain_refusal,
            watch::a_watch_ends_with_its_directory_or_its_sandbox,
            pty::a_shell_echoes_keeps_its_size_and_says_how_it_ended,
            pty::a_viewer_who_comes_back_sees_the_present_screen,
            pty::programs_that_fill_the_screen_follow_its_size,
            pty::a_lazy_terminal_starts_with_its_first_viewer,
            pty::what_is_not_there_is_refused_before_the_upgrade,
            pty::sixty_four_terminals_and_no_more,
            pty::a_deleted_terminal_takes_its_session_with_it,
            pty::the_server_stops_with_a_terminal_open,
            ingress::an_app_is_reached_by_name_and_by_path_byte_for_byte,
            ingress::who_may_not_or_asks_for_nothing_gets_nowhere,
            ingress::the_environment_names_the_port_where_the_name_does_not,
            ingress::events_arrive_as_they_are_sent_and_end_with_the_sandbox,
            ingress::a_websocket_reaches_the_app,
            ingress::large_bodies_go_in_and_out,
            ingress::an_app_that_listens_inside_alone_is_reached_too,
            ingress::an_app_that_starts_late_and_parts_that_restart_are_waited_for,
            ingress::one_whose_app_never_answers_takes_no_room_of_others,
            cuts::what_came_by_a_presigned_url_is_cut_when_that_is_taken_back_and_all_else_goes_on,
            cuts::what_came_by_a_presigned_url_is_cut_when_that_expires,
            cuts::what_came_to_a_port_is_cut_when_that_is_open_no_longer,
            cuts::what_came_with_a_key_is_cut_when_that_is_revoked,
            cuts::what_was_allowed_a_moment_ago_is_not_when_it_has_been_taken_back,
            cuts::what_happens_at_the_door_is_counted_among_the_metrics,
            presigned::a_presigned_url_opens_one_port_to_anybody_and_the_app_never_hears_its_token,
            presigned::a_presigned_url_ends_when_it_expires_is_taken_back_or_its_sandbox_goes,
            presigned::a_presigned_url_wakes_its_sandbox_and_outlives_parts_that_restart,
            presigned::a_presigned_url_of_a_port_where_nobody_listens_says_so,
            presigned::a_port_that_is_opened_is_open_to_anybody_and_no_other_is,
            presigned::ports_can_be_open_from_the_start_and_asking_wakes,
            events::a_killed_engine_is_told_with_its_reason_to_whoever_listens,
            events::a_team_hears_of_all_its_sandboxes_in_order,
            events::an_engine_that_ended_while_the_node_was_away_leaves_evidence,
            events::a_host_that_was_restarted_is_told_apart_from_a_crash,
            crash::each_step_of_a_bring_up_fails_in_turn_and_leaves_nothing,
            crash::a_node_that_restarts_finds_its_sandboxes_running,
            crash::a_control_that_restarts_has_forgotten_nothing,
            crash::an_engine_that_is_killed_is_a_death_with_a_reason,
            crash::a_planted_leak_is_found,
            crash::a_task_that_breaks_off_is_replaced,
            crash::time_goes_on_while_the_node_is_away,
            crash::a_wall_clock_that_jumps_ends_nothing,
            crash::a_machine_that_hangs_is_lost_with_evidence,
            crash::a_busy_or_silent_sandbox_is_not_given_up,
            crash::creates_and_deletes_of_the_same_sandboxes_leave_nothing,
        }
    };
    ($lab:expr => $($module:ident::$story:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $story() {
                $crate::stories::$module::$story($lab).await;
            }
        )*
    };
}

/// Makes a test of every story of what is kept of sandboxes, in labs that are made like this.
#[macro_export]
macro_rules! stories_of_snapshots {
    ($lab:expr) => {
        $crate::stories! { $lab =>
            pause::what_is_paused_takes_no_compute_and_goes_on_when_it_is_needed,
            pause::open_files_connections_processes_and_environment_outlive_a_pause,
            pause::a_command_under_way_goes_on_when_it_wakes_and_its_time_stands_still,
            pause::twenty_callers_wake_it_once,
            pause::fifty_generations_keep_every_byte,
            pause::one_with_auto_pause_is_paused_when_its_time_is_up_and_has_all_of_it_when_it_wakes,
            pause::the_time_of_one_that_is_paused_is_changed_without_waking_it_and_begins_when_it_wakes,
            pause::a_request_that_meets_an_auto_pause_is_only_later,
            pause::a_delete_wins_while_it_is_paused_being_paused_or_woken,
            pause::a_pause_that_fails_at_any_step_leaves_it_running,
            pause::a_wake_that_fails_at_any_step_leaves_it_paused,
            pause::a_node_that_restarts_meanwhile_loses_nothing,
            pause::a_wake_for_which_there_is_no_room_is_refused_and_it_stays_paused,
            pause::a_team_that_may_have_no_more_wakes_none,
            pause::what_is_kept_and_damaged_is_refused_with_the_reason,
            pause::an_engine_that_dies_while_it_is_paused_is_a_death_with_that_reason,
            partings::a_command_that_is_paused_in_its_middle_is_answered_with_every_line_once,
            partings::a_stream_that_is_paused_in_its_middle_goes_on_with_every_event_once,
            partings::input_of_a_command_arrives_once_although_it_is_paused,
            partings::a_command_goes_on_over_snapshots_of_its_sandbox,
            partings::what_an_agent_forgot_between_two_pauses_does_not_mislead_it,
            partings::who_waits_for_a_sandbox_that_is_deleted_meanwhile_is_told_so,
            snapshots::a_sandbox_goes_on_beside_those_that_went_on_from_its_snapshot,
            snapshots::a_sandbox_may_end_with_its_snapshot,
            snapshots::snapshots_have_names_that_are_listed_looked_for_and_given_up,
            snapshots::many_go_on_at_once_and_each_is_itself,
            snapshots::a_fork_for_which_there_is_no_room_makes_no_copy,
            snapshots::one_that_is_paused_is_woken_for_its_snapshot_and_can_be_paused_meanwhile,
            snapshots::a_snapshot_that_fails_at_any_step_leaves_its_sandbox_running,
            snapshots::a_restart_in_the_middle_leaves_the_sandbox_or_its_snapshot,
            snapshots::what_is_damaged_or_gone_is_refused_before_anything_starts,
            snapshots::bytes_go_with_the_last_that_needs_them_and_a_dry_run_says_which,
            snapshots::what_it_was_when_it_was_last_paused_outlives_a_sandbox_that_breaks,
        }
    };
}
