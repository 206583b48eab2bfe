# How everything of ours is compiled. gcc 12 and clang 14; warnings are errors.
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

set(WEIR_SANITIZE "" CACHE STRING "Sanitizers for all of our code, as -fsanitize= takes them")
option(WEIR_FUZZ "Build the fuzz targets with libFuzzer (clang)" OFF)
option(WEIR_LTO "Link-time optimisation" OFF)

add_library(weir_flags INTERFACE)
target_include_directories(weir_flags INTERFACE ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR})
target_compile_definitions(weir_flags INTERFACE _GNU_SOURCE WEIR_VERSION="${PROJECT_VERSION}")
target_compile_options(weir_flags INTERFACE
  -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wcast-qual -Wvla
  -Wundef -Wwrite-strings -Wno-missing-field-initializers $<$<C_COMPILER_ID:GNU>:-Wno-format-truncation>
  $<$<C_COMPILER_ID:Clang>:-Wno-unused-command-line-argument>
  -fno-omit-frame-pointer -fno-common -fstack-protector-strong -UNDEBUG)
target_link_libraries(weir_flags INTERFACE m pthread)
if(WEIR_SANITIZE)
  target_compile_options(weir_flags INTERFACE -fsanitize=${WEIR_SANITIZE} -fno-sanitize-recover=all)
  target_link_options(weir_flags INTERFACE -fsanitize=${WEIR_SANITIZE})
else()
  target_compile_options(weir_flags INTERFACE $<$<NOT:$<CONFIG:Debug>>:-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2>)
  target_link_options(weir_flags INTERFACE -Wl,-z,relro,-z,now)
endif()
if(WEIR_FUZZ)
  target_compile_options(weir_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(WEIR_LTO)
  set(CMAKE_INTERPROCEDURAL_OPTIMIZATION ON)
endif()
