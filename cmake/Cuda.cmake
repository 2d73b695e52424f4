# cvdecode_cuda: the kernels of csrc/kernels/cuda for GPUs. Everything else of the project builds
# without CUDA; this file is included only where it was asked for.
include(CheckLanguage)
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  message(FATAL_ERROR "CUDA was asked for (CVDECODE_CUDA=ON), but no nvcc was found: install the "
    "CUDA toolkit, name its compiler by CUDACXX=/path/to/nvcc, or leave CVDECODE_CUDA out.")
endif()
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 80 90)  # A100, H100 and H200; other GPUs by -DCMAKE_CUDA_ARCHITECTURES
endif()
enable_language(CUDA)
set(CMAKE_CUDA_STANDARD 17)  # CMake 3.25 knows no later one; what launch.cu includes needs none
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
get_filename_component(CVDECODE_ROOT ${CMAKE_CURRENT_LIST_DIR} DIRECTORY)
add_library(cvdecode_cuda STATIC ${CVDECODE_ROOT}/csrc/kernels/cuda/launch.cu)
target_include_directories(cvdecode_cuda PUBLIC ${CVDECODE_ROOT}/csrc)
set_target_properties(cvdecode_cuda PROPERTIES
  POSITION_INDEPENDENT_CODE ON CUDA_RUNTIME_LIBRARY Static)
# No fused multiply-add: the same bits as on the CPU.
target_compile_options(cvdecode_cuda PRIVATE
  $<$<COMPILE_LANGUAGE:CUDA>:--fmad=false -Xcompiler=-Wall,-Wextra>)
