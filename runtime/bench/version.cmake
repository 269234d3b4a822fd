# Writes version.cpp when what it says changed, so that an unchanged tree compiles nothing.
execute_process(COMMAND git -C ${SOURCE} describe --always --dirty --tags
  OUTPUT_VARIABLE GIT OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(failed OR GIT STREQUAL "")
  set(GIT unknown)
endif()
configure_file(${TEMPLATE} ${OUT} @ONLY)
