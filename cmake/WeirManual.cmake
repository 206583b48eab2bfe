# The manual: docs/man/<page>.<section>.scd, filled by tools/genman from the programs' own tables, becomes
# <build>/man/<page>.<section>, and compressed what is installed. Only where scdoc is installed.
find_program(SCDOC scdoc)
find_program(GZIP gzip REQUIRED)
if(SCDOC)
  file(GLOB pages CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/docs/man/*.scd)
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/man)
  foreach(page IN LISTS pages)
    cmake_path(GET page STEM LAST_ONLY name)
    set(made ${CMAKE_BINARY_DIR}/man/${name})
    add_custom_command(OUTPUT ${made} ${made}.gz COMMAND genman < ${page} > ${made}.scd
      COMMAND ${SCDOC} < ${made}.scd > ${made} COMMAND ${GZIP} -9nkf ${made} DEPENDS ${page} genman VERBATIM)
    list(APPEND manual ${made} ${made}.gz)
    cmake_path(GET name EXTENSION LAST_ONLY section)
    string(SUBSTRING ${section} 1 -1 section)
    cmake_path(GET name STEM LAST_ONLY component)
    if(NOT TARGET ${component})
      set(component weir) # pages that are about no single program
    endif()
    install(FILES ${made}.gz DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section} COMPONENT ${component})
  endforeach()
  add_custom_target(man ALL DEPENDS ${manual})
endif()
