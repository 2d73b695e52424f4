# hwy::hwy: the system's Highway from 1.0.3 on. Where it is older or missing (Ubuntu 22.04 has 0.16,
# without interleaved loads and truncation), release 1.2.0, fetched and checked by its hash.
find_package(HWY 1.0.3 CONFIG QUIET)
if(HWY_FOUND)
  return()
endif()
pkg_check_modules(HWY_PC QUIET IMPORTED_TARGET libhwy>=1.0.3)
if(HWY_PC_FOUND)
  add_library(hwy::hwy ALIAS PkgConfig::HWY_PC)
  return()
endif()
message(STATUS "No Highway 1.0.3 or later on this system: fetching release 1.2.0")
include(FetchContent)
FetchContent_Declare(highway
  URL https://github.com/google/highway/archive/refs/tags/1.2.0.tar.gz
      https://deb.debian.org/debian/pool/main/h/highway/highway_1.2.0.orig.tar.gz
  URL_HASH SHA256=7e0be78b8318e8bdbf6fa545d2ecb4c90f947df03f7aadc42c1967f019e63343)
foreach(part CONTRIB EXAMPLES INSTALL TESTS)
  set(HWY_ENABLE_${part} OFF CACHE INTERNAL "")
endforeach()
FetchContent_MakeAvailable(highway)
add_library(hwy::hwy ALIAS hwy)
