# A folder is a target: mlpserve_library(<name> ...) in its CMakeLists.txt, named after its path.

add_library(mlpserve_options INTERFACE)
target_include_directories(mlpserve_options INTERFACE ${CMAKE_SOURCE_DIR})
# A designated initialiser leaves the rest to the defaults on purpose.
target_compile_options(mlpserve_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Werror
  -Wno-missing-field-initializers)
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  target_compile_options(mlpserve_options INTERFACE -Wthread-safety)
endif()
if(MLPSERVE_SANITIZER)
  # Null pointers are AddressSanitizer's finding too; a check at each use is a quarter of the build.
  target_compile_options(mlpserve_options INTERFACE
    -fsanitize=${MLPSERVE_SANITIZER} -fno-sanitize=null,vptr -fno-omit-frame-pointer)
  target_link_options(mlpserve_options INTERFACE -fsanitize=${MLPSERVE_SANITIZER})
endif()

# mlpserve_library(NAME [SOURCES a.cc ...] HEADERS a.h ... [DEPENDS public...] [PRIVATE private...])
# Every header is compiled alone by the target all_verify_interface_header_sets.
function(mlpserve_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;HEADERS;DEPENDS;PRIVATE" ${ARGN})
  if(arg_SOURCES)
    add_library(${name} STATIC ${arg_SOURCES})
    set(scope PUBLIC)
    target_link_libraries(${name} PRIVATE ${arg_PRIVATE})
  else()
    add_library(${name} INTERFACE)
    set(scope INTERFACE)
  endif()
  target_sources(${name} ${scope}
    FILE_SET HEADERS BASE_DIRS ${CMAKE_SOURCE_DIR} FILES ${arg_HEADERS})
  target_link_libraries(${name} ${scope} mlpserve_options ${arg_DEPENDS})
  set_target_properties(${name} PROPERTIES VERIFY_INTERFACE_HEADER_SETS ON)
endfunction()

add_custom_target(all_tests)

# mlpserve_test(NAME SOURCES a_test.cc ... DEPENDS ... [TIMEOUT s] [SANITIZERS address thread])
# builds a GoogleTest program, which is one entry of ctest. In a sanitizer build only the tests that
# name the sanitizer exist (default: address; none: only in a plain build), so that all_tests builds
# no more than they need.
function(mlpserve_test name)
  cmake_parse_arguments(arg "" "TIMEOUT" "SOURCES;DEPENDS;SANITIZERS" ${ARGN})
  if(NOT arg_SANITIZERS)
    set(arg_SANITIZERS address)
  endif()
  string(REGEX MATCH "^[a-z]+" sanitizer "${MLPSERVE_SANITIZER}")
  if(sanitizer AND NOT sanitizer IN_LIST arg_SANITIZERS)
    return()
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 300)
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE mlpserve_options ${arg_DEPENDS} GTest::gmock
    GTest::gtest_main)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${arg_TIMEOUT}
    ENVIRONMENT "UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1;\
LSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/tests/lsan.supp;\
TSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/tests/tsan.supp")
  add_dependencies(all_tests ${name})
endfunction()
