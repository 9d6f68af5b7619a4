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

mkdir -p target
for checker in loom shuttle; do
    export RUSTFLAGS="--cfg $checker" CARGO_TARGET_DIR="target/$checker"
    test=(cargo test --quiet --release --no-default-features --lib --features)
    run=("${test[@]}" server --)
    "${test[@]}" server --no-run
    judge "$checker: the hand-over" "holds" "${run[@]}" model_
    for planted in LateLeave:model_a_burst_comes_as_its_worker_retires \
        KeptPermit:model_a_freed_permit_goes_round_the_ports \
        FreeReturn:model_two_handlers_that_wait_share_one_permit \
        LatePause:model_a_handler_that_waits_holds_back_no_call \
        OneRaised:model_a_raised_limit_wakes_all_that_starve \
        LoweredInVain:model_nobody_runs_above_a_lowered_limit \
        KeptPlace:model_a_worker_is_kept_and_no_call_is_left; do
        judge "$checker: planted bug ${planted%:*}" "is found" \
            env "PLANTED=${planted%:*}" "${run[@]}" "${planted#*:}"
    done
    # Shuttle finds this one, too, at once, but does not come to an end with what waits then.
    if [ "$checker" = loom ]; then
        judge "loom: planted bug NoReserve" "is found" \
            env PLANTED=NoReserve "${run[@]}" model_a_kept_worker_runs_what_the_others_wait_for
    fi
    run=("${test[@]}" client --)
    "${test[@]}" client --no-run
    judge "$checker: the client's reader" "holds" "${run[@]}" model_
    for planted in KeptAppointment:model_a_caller_whose_time_is_over_hands_on \
        UnreadTask:model_a_task_is_read_for_when_the_caller_leaves \
        LeftAsleep:model_two_callers_read_for_each_other; do
        judge "$checker: planted bug ${planted%:*}" "is found" \
            env "PLANTED=${planted%:*}" "${run[@]}" "${planted#*:}"
    done
    # Needs more preemptions than loom has time for.
    if [ "$checker" = shuttle ]; then
        judge "shuttle: planted bug UnwrittenCall" "is found" \
            env PLANTED=UnwrittenCall "${run[@]}" model_what_is_queued_beside_an_awake_reader_is_written
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
