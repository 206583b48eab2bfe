# What is installed beside the programs, and the Debian packages: `cmake --build --preset release --target package`.
# One package per program; package weir (the command) also holds what the daemons share.
set(units lib/systemd/system)
install(FILES deploy/systemd/weir.sysusers DESTINATION lib/sysusers.d RENAME weir.conf COMPONENT weir)
install(FILES deploy/systemd/weir.tmpfiles DESTINATION lib/tmpfiles.d RENAME weir.conf COMPONENT weir)
install(DIRECTORY deploy/systemd/weir-.service.d DESTINATION ${units} COMPONENT weir)
install(FILES deploy/systemd/weir-agent.sysctl DESTINATION lib/sysctl.d RENAME 50-weir-agent.conf COMPONENT weir-agent)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME weir)
set(CPACK_PACKAGE_VENDOR "The Weir authors")
set(CPACK_PACKAGE_CONTACT "The Weir authors <weir@weir.invalid>")
set(CPACK_PACKAGE_DIRECTORY ${CMAKE_BINARY_DIR}/packages)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)

set(made ${CMAKE_BINARY_DIR}/debian)
file(MAKE_DIRECTORY ${made})
find_program(GZIP gzip REQUIRED)
execute_process(COMMAND ${GZIP} -9nc ${CMAKE_SOURCE_DIR}/deploy/debian/changelog OUTPUT_FILE ${made}/changelog.gz
  COMMAND_ERROR_IS_FATAL ANY)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS deploy/debian/changelog)

# weir_package(name DEPENDS packages SUMMARY text DETAILS line...): a program's package, with its unit, documents and
# maintainer scripts.
function(weir_package name)
  cmake_parse_arguments(arg "" "DEPENDS;SUMMARY" "DETAILS" ${ARGN})
  install(FILES ${made}/changelog.gz deploy/debian/copyright DESTINATION share/doc/${name} COMPONENT ${name})
  if(name STREQUAL weir)
    set(scripts ${CMAKE_SOURCE_DIR}/deploy/debian/postinst)
  else()
    install(FILES deploy/systemd/${name}.service DESTINATION ${units} COMPONENT ${name})
    string(REPLACE weir- "" room ${name})
    foreach(script postinst prerm postrm)
      configure_file(deploy/debian/daemon.${script}.in ${made}/${name}/${script} @ONLY)
      list(APPEND scripts ${made}/${name}/${script})
    endforeach()
  endif()
  string(TOUPPER ${name} component)
  list(JOIN arg_DETAILS "\n" details)
  set(CPACK_DEBIAN_${component}_PACKAGE_NAME ${name} PARENT_SCOPE)
  set(CPACK_DEBIAN_${component}_PACKAGE_SECTION net PARENT_SCOPE)
  set(CPACK_DEBIAN_${component}_PACKAGE_DEPENDS "${arg_DEPENDS}" PARENT_SCOPE)
  set(CPACK_DEBIAN_${component}_PACKAGE_CONTROL_EXTRA "${scripts}" PARENT_SCOPE)
  set(CPACK_DEBIAN_${component}_DESCRIPTION "${arg_SUMMARY}\n${details}" PARENT_SCOPE)
  set(CPACK_COMPONENTS_ALL ${CPACK_COMPONENTS_ALL} ${name} PARENT_SCOPE)
endfunction()

set(same "weir (= ${PROJECT_VERSION})")
weir_package(weir DEPENDS "systemd | systemd-standalone-sysusers"
  SUMMARY "distributed flow collector: command and shared files" DETAILS
  "Weir receives NetFlow, IPFIX and sFlow at many sites and answers questions"
  "about all of it. This package has the command that asks, makes keys and"
  "replays captures, and what the daemons share.")
weir_package(weir-agent DEPENDS ${same}
  SUMMARY "distributed flow collector: agent" DETAILS
  "The agent receives NetFlow v5 and v9, IPFIX and sFlow near the exporters,"
  "keeps them in a spool on disk and ships them to the brokers.")
weir_package(weir-broker DEPENDS ${same}
  SUMMARY "distributed flow collector: broker" DETAILS
  "The broker authenticates agents and routes their flows to the aggregators"
  "that own them. It keeps no data.")
weir_package(weir-aggregator DEPENDS ${same}
  SUMMARY "distributed flow collector: aggregator" DETAILS
  "The aggregator stores flows, rolls them up by minute and hour, and answers"
  "questions about its share of them.")
weir_package(weir-console DEPENDS ${same}
  SUMMARY "distributed flow collector: console" DETAILS
  "The console asks all aggregators, merges what they answer and serves it"
  "over HTTP.")
include(CPack)
