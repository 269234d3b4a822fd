#!/usr/bin/env bash
# Runs a command with the sanitizers' settings. The Vulkan driver is opened at run time and keeps
# its compiler's memory until exit, so leaks inside it are its own.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export ASAN_OPTIONS="detect_stack_use_after_return=1:strict_string_checks=1:fast_unwind_on_malloc=1"
export LSAN_OPTIONS="suppressions=$here/lsan.supp:print_suppressions=0"
export UBSAN_OPTIONS="print_stacktrace=1"
exec "$@"
