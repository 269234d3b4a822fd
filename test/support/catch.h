// Catch2 as Debian 12 has it (version 2), plus SKIP, which came with version 3.
#pragma once

#include <catch2/catch.hpp>

// Ends a test case whose data or device is absent, saying so.
#define SKIP(message)              \
  do {                             \
    WARN("skipped: " << message);  \
    SUCCEED();                     \
    return;                        \
  } while (false)
