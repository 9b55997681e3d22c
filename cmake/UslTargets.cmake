# One static library for each folder of src/. Sources are the *.cc beside the CMakeLists.txt, less the unit tests
# (*_test.cc), which become one GoogleTest executable for the folder.

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  set(CMAKE_C_COMPILER_LAUNCHER "${CCACHE_PROGRAM}")
  set(CMAKE_CXX_COMPILER_LAUNCHER "${CCACHE_PROGRAM}")
endif()

add_library(usl_options INTERFACE)
target_include_directories(usl_options INTERFACE "${CMAKE_SOURCE_DIR}/src")
target_compile_options(usl_options INTERFACE
  -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Wno-missing-field-initializers
  -fno-strict-aliasing
  $<$<CXX_COMPILER_ID:Clang>:-Wthread-safety>)
# No -D_FORTIFY_SOURCE games: the guest's sizes are checked by hand, and the static artefact stays small.
if(USL_SANITIZE)
  target_compile_options(usl_options INTERFACE -fsanitize=${USL_SANITIZE} -fno-omit-frame-pointer)
  target_link_options(usl_options INTERFACE -fsanitize=${USL_SANITIZE})
endif()

function(usl_add_library name)
  cmake_parse_arguments(ARG "" "" "DEPENDS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/*.cc")
  list(FILTER sources EXCLUDE REGEX "_test\\.cc$")
  if(sources)
    add_library(${name} STATIC ${sources})
    target_link_libraries(${name} PUBLIC usl_options ${ARG_DEPENDS})
  else()
    add_library(${name} INTERFACE)
    target_link_libraries(${name} INTERFACE usl_options ${ARG_DEPENDS})
  endif()

  file(GLOB tests CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/*_test.cc")
  if(USL_TESTS AND tests)
    find_package(GTest REQUIRED)
    add_executable(${name}_test ${tests})
    target_link_libraries(${name}_test PRIVATE ${name} GTest::gmock GTest::gtest GTest::gtest_main)
    add_test(NAME unit.${name} COMMAND ${name}_test)
    set_tests_properties(unit.${name} PROPERTIES LABELS unit TIMEOUT 120)
  endif()
endfunction()
