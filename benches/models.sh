#!/usr/bin/env bash
# Checks the hand-over of src/pool and the reading of src/client/connection under loom (every order of their threads,
# with few preemptions) and shuttle (100,000 random schedules a model), then plants each bug and requires that both find
# it, by the model made for it. About five minutes on two cores, half of it for building. Ends with the count of checks
# passed and failed.
set -euo pipefail
cd "$(dirname "$0")/.."
passed=0 failed=0

# judge WHAT EXPECTED COMMAND...: EXPECTED is "holds" or "is found".
judge() {
    local what=$1 expected=$2 found=holds
    shift 2
    "$@" >target/model.log 2>&1 || found="is found"
    if [ "$found" = "$expected" ]; then
        passed=$((passed + 1)) && echo "ok      $what: $expected"
    else
        failed=$((failed + 1)) && echo "FAILED  $what: $found, expected: $expected" && tail -n 30 target/model.log
    fi
}

# models WHAT FEATURE BUG:MODEL...: runs all models of a feature, then for each bug the model made for it.
models() {
    local what=$1 run=("${test[@]}" "$2" --)
    "${test[@]}" "$2" --no-run
    judge "$checker: $what" "holds" "${run[@]}" model_
    for planted in "${@:3}"; do
        judge "$checker: planted bug ${planted%:*}" "is found" \
            env "PLANTED=${planted%:*}" "${run[@]}" "${planted#*:}"
    done
}

hand_over=(
    LateLeave:model_a_burst_comes_as_its_worker_retires
    KeptPermit:model_a_freed_permit_goes_round_the_ports
    FreeReturn:model_two_handlers_that_wait_share_one_permit
    LatePause:model_a_handler_that_waits_holds_back_no_call
    OneRaised:model_a_raised_limit_wakes_all_that_starve
    LoweredInVain:model_nobody_runs_above_a_lowered_limit
    KeptPlace:model_a_worker_is_kept_and_no_call_is_left
    LateLine:model_a_place_is_passed_to_another_port
    UnpassedPlace:model_a_place_is_passed_to_another_port
    UnseenQueue:model_the_listening_thread_leaves_with_a_call_in_the_queue
    KeptWorker:model_short_calls_run_where_they_were_read
    NoDeputy:model_a_slow_call_passes_the_listening_on
    NoRescue:model_a_slow_call_passes_the_listening_on
    OldThread:model_a_call_that_waits_passes_the_listening_on
)
reader=(
    KeptAppointment:model_a_caller_whose_time_is_over_hands_on
    UnreadTask:model_a_task_is_read_for_when_the_caller_leaves
    LeftAsleep:model_two_callers_read_for_each_other
)
# Shuttle finds the first, too, at once, but does not come to an end with what waits then. The second needs more
# preemptions than loom has time for.
loom_alone=NoReserve:model_a_kept_worker_runs_what_the_others_wait_for
shuttle_alone=UnwrittenCall:model_what_is_queued_beside_an_awake_reader_is_written

test=(cargo test --quiet --release --no-default-features --lib --features)
mkdir -p target
for checker in loom shuttle; do
    export RUSTFLAGS="--cfg $checker" CARGO_TARGET_DIR="target/$checker"
    if [ "$checker" = loom ]; then
        models "the hand-over" server "${hand_over[@]}" "$loom_alone"
        models "the client's reader" client "${reader[@]}"
    else
        models "the hand-over" server "${hand_over[@]}"
        models "the client's reader" client "${reader[@]}" "$shuttle_alone"
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
