# Halves the build: read by CMake at llama.cpp's project(), acts when every target is known.
function(innervate_shorten)
  # The many small model files are compiled a dozen at a time, but for one that has a name in common with another.
  get_target_property(alone llama SOURCES)
  list(FILTER alone EXCLUDE REGEX "models/")
  list(TRANSFORM alone PREPEND "src/")
  list(APPEND alone src/models/gemma4.cpp)
  list(TRANSFORM alone PREPEND "${CMAKE_CURRENT_SOURCE_DIR}/")
  set_source_files_properties(${alone} TARGET_DIRECTORY llama PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
  set_target_properties(llama PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 12)
  # What nearly every other file spends its time on.
  foreach(target llama-common server-context llama-server-impl)
    target_precompile_headers(${target} PRIVATE <nlohmann/json.hpp> <functional> <map> <regex> <string> <vector>)
  endforeach()
endfunction()
cmake_language(DEFER CALL innervate_shorten)
