# `make install`, the Debian package and the static tarball: all the same files.
include(GNUInstallDirs)
install(TARGETS usl RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}" COMPONENT usl)
if(TARGET usl-fetch)
  install(TARGETS usl-fetch RUNTIME DESTINATION "${CMAKE_INSTALL_LIBEXECDIR}/usl" COMPONENT usl)
endif()
install(FILES share/catalogue.json DESTINATION "${CMAKE_INSTALL_DATADIR}/usl" COMPONENT usl)
install(FILES docs/man/usl.1 DESTINATION "${CMAKE_INSTALL_MANDIR}/man1" COMPONENT usl)
install(FILES README.md SECURITY.md CHANGELOG.md LICENSE DESTINATION "${CMAKE_INSTALL_DOCDIR}" COMPONENT usl)

# Completions come out of the program itself.
set(completions "${CMAKE_BINARY_DIR}/completions")
file(MAKE_DIRECTORY "${completions}")
add_custom_command(OUTPUT "${completions}/usl.bash" "${completions}/_usl" "${completions}/usl.fish"
  COMMAND usl completion bash > "${completions}/usl.bash"
  COMMAND usl completion zsh > "${completions}/_usl"
  COMMAND usl completion fish > "${completions}/usl.fish"
  DEPENDS usl VERBATIM)
add_custom_target(usl_completions DEPENDS "${completions}/usl.bash")
install(CODE "execute_process(COMMAND \"${CMAKE_COMMAND}\" --build \"${CMAKE_BINARY_DIR}\" --target usl_completions
  OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)" COMPONENT usl)
install(FILES "${completions}/usl.bash" DESTINATION "${CMAKE_INSTALL_DATADIR}/bash-completion/completions" RENAME usl
  COMPONENT usl)
install(FILES "${completions}/_usl" DESTINATION "${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions" COMPONENT usl)
install(FILES "${completions}/usl.fish" DESTINATION "${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d" COMPONENT usl)

set(CPACK_GENERATOR TGZ DEB)
set(CPACK_PACKAGE_NAME usl)
set(CPACK_PACKAGE_VENDOR "The USL authors")
set(CPACK_PACKAGE_CONTACT "The USL authors <usl@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "User-mode Subsystem for Linux: run whole Linux distributions as an ordinary user")
set(CPACK_PACKAGE_FILE_NAME "usl-${PROJECT_VERSION}-x86_64")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL usl)
set(CPACK_COMPONENTS_GROUPING ALL_COMPONENTS_IN_ONE)
set(CPACK_ARCHIVE_COMPONENT_INSTALL ON)
set(CPACK_COMPONENT_INCLUDE_TOPLEVEL_DIRECTORY ON)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_PACKAGE_ARCHITECTURE amd64)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION utils)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
# `usl` is static and needs nothing. mmdebstrap makes root file systems to run; usl-fetch, which downloads, wants libcurl.
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "mmdebstrap")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "libcurl4, ca-certificates")
include(CPack)
