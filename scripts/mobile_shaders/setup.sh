#!/usr/bin/env bash
# Unpacks the shader compilers of phones without installing anything: Mesa's Adreno driver for this
# machine (amd64) and its Mali driver for arm64, which runs under qemu-user.
#
#   scripts/mobile_shaders/setup.sh [FOLDER]      default: build/mobile-shaders
#
# FOLDER/debs keeps what was downloaded; a folder of that kind in MOBILE_SHADERS_DEBS is used in place
# of the network. Exit code 5 with one sentence when packages or tools are not to be had.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${1:-$here/../../build/mobile-shaders}
mkdir -p "$out"
out=$(cd "$out" && pwd)

# The compilers whose figures the baselines hold. drm-shim, the preloaded library that answers as the
# kernel driver would, is in no package: it is built from the source of Debian 13's own Mesa.
MESA='26.1.6-1~bpo13+1'
SHIM_SOURCE=mesa_25.0.7.orig.tar.xz
SHIM_RELEASE=25.0.7
LIBRARIES="libc6 libgcc-s1 libstdc++6 zlib1g libzstd1 libdrm2 libexpat1 libffi8 libvulkan1 libwayland-client0
  libdisplay-info2 libxau6 libxdmcp6 libxcb1 libx11-xcb1 libxshmfence1 libxcb-dri3-0 libxcb-present0 libxcb-randr0
  libxcb-shm0 libxcb-sync1 libxcb-xfixes0"

unavailable() {
  echo "mobile_shaders: $1, so the phone compilers cannot be set up and nothing was checked; $2" >&2
  exit 5
}

stamp=$(cat "$here"/{setup.sh,packages.sha256,drm_shim.patch,shader_stats.c} | sha256sum | cut -d ' ' -f 1)
if [ "$(cat "$out/stamp" 2>/dev/null)" = "$stamp" ]; then
  echo "mobile_shaders: Mesa $MESA is set up in $out" >&2
  exit 0
fi

for tool in gcc aarch64-linux-gnu-gcc qemu-aarch64-static dpkg-deb patch xz; do
  command -v "$tool" > /dev/null || unavailable "the tool $tool is missing" "apt-get install gcc gcc-aarch64-linux-gnu \
libc6-dev-arm64-cross libdrm-dev libvulkan-dev qemu-user-static patch xz-utils"
done

# Downloads through lists of our own: the machine's sources and installed packages are not touched.
fetch() {
  local apt=$out/apt mirror source
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null | grep -v security |
           grep -m 1 debian || echo http://deb.debian.org/debian)
  mkdir -p "$apt"/{lists/partial,archives/partial,state,sources}
  : > "$apt/state/status"
  for kind in "deb trixie trixie-backports" "deb-src trixie"; do
    printf 'Types: %s\nURIs: %s\nSuites: %s\nComponents: main\nArchitectures: amd64 arm64\nSigned-By: %s\n\n' \
      "${kind%% *}" "$mirror" "${kind#* }" /usr/share/keyrings/debian-archive-keyring.gpg
  done > "$apt/sources/trixie.sources"
  cat > "$apt/apt.conf" <<CONF
Dir::Etc::SourceList "/dev/null";
Dir::Etc::SourceParts "$apt/sources";
Dir::State "$apt/state";
Dir::State::Lists "$apt/lists";
Dir::State::Status "$apt/state/status";
Dir::Cache "$apt";
APT::Architectures { "amd64"; "arm64"; };
APT::Sandbox::User "root";
Acquire::Retries "2";
Acquire::Languages "none";
CONF
  export APT_CONFIG=$apt/apt.conf
  apt-get update -qq > /dev/null || return 1
  cd "$1"
  local architecture names=()
  for architecture in amd64 arm64; do
    names+=("mesa-vulkan-drivers:$architecture=$MESA")
    for library in $LIBRARIES; do names+=("$library:$architecture/trixie"); done
  done
  apt-get download -qq "${names[@]}" > /dev/null || return 1
  source=$(apt-cache showsrc mesa | sed -n "s/^Version: \($SHIM_RELEASE-.*\)/\1/p" | head -n 1)
  apt-get source -qq --download-only "mesa=$source" > /dev/null || return 1
}

debs=${MOBILE_SHADERS_DEBS:-$out/debs}
mkdir -p "$debs"
if ! ls "$debs"/mesa-vulkan-drivers_*_arm64.deb "$debs/$SHIM_SOURCE" > /dev/null 2>&1; then
  (fetch "$debs") || unavailable "Debian's packages of Mesa $MESA (trixie-backports) could not be downloaded" \
    "run it where the mirror is reachable and still has them, or name a folder of them in MOBILE_SHADERS_DEBS"
  rm -rf "$out/apt"
fi
# Mesa by hash, since baselines hold for one version only; the libraries beside it are apt's to verify.
(cd "$debs" && sha256sum --check --quiet "$here/packages.sha256") ||
  unavailable "a package in $debs is not the one of packages.sha256" "delete that folder and run it again"

rm -rf "$out/root" "$out/work" "$out/stamp"
mkdir -p "$out/root/usr/lib" "$out/work" "$out/bin"
cd "$out"
ln -s usr/lib root/lib
ln -s usr/lib64 root/lib64
for deb in "$debs"/*.deb; do
  dpkg-deb --fsys-tarfile "$deb" | tar -x -C root --keep-directory-symlink --exclude './usr/share/doc' \
    --exclude './usr/share/locale' --exclude '*/gconv' --exclude '*/libvulkan_[!fp]*.so'
done

# What the loader reads to find each driver: FOLDER/adreno.json and FOLDER/mali.json.
manifest() {
  printf '{"file_format_version": "1.0.0", "ICD": {"library_path": "%s", "api_version": "1.4.0"}}\n' \
    "$out/root/usr/lib/$2" > "$out/$1.json"
}
manifest adreno x86_64-linux-gnu/libvulkan_freedreno.so
manifest mali aarch64-linux-gnu/libvulkan_panfrost.so

tree=mesa-$SHIM_RELEASE
tar -xJf "$debs/$SHIM_SOURCE" -C work "$tree"/{include,src/c11,src/drm-shim,src/util} \
  "$tree"/src/{freedreno,panfrost}/drm-shim
cd "work/$tree"
patch -s -p1 < "$here/drm_shim.patch"
have="PTHREAD STRUCT_TIMESPEC TIMESPEC_GET ENDIAN_H FLOCK MEMFD_CREATE MKOSTEMP POSIX_MEMALIGN SECURE_GETENV
  PROGRAM_INVOCATION_NAME FUNC_ATTRIBUTE_VISIBILITY FUNC_ATTRIBUTE_PACKED FUNC_ATTRIBUTE_UNUSED __BUILTIN_BSWAP32
  __BUILTIN_BSWAP64 __BUILTIN_CLZ __BUILTIN_CLZLL __BUILTIN_EXPECT __BUILTIN_FFS __BUILTIN_FFSLL __BUILTIN_POPCOUNT
  __BUILTIN_POPCOUNTLL __BUILTIN_UNREACHABLE"
util="anon_file blob futex hash_table log os_file os_misc ralloc set simple_mtx u_call_once u_debug u_printf u_process
  vma"
# shim COMPILER DRIVER OUTPUT
shim() {
  "$1" -std=gnu11 -O1 -w -shared -fPIC -fvisibility=hidden -D_GNU_SOURCE -DUTIL_ARCH_LITTLE_ENDIAN=1 \
    -DPACKAGE_VERSION="\"$SHIM_RELEASE\"" $(printf -- '-DHAVE_%s ' $have) \
    -Isrc -Iinclude -Isrc/drm-shim -I/usr/include/libdrm src/drm-shim/device.c src/drm-shim/drm_shim.c \
    "$2" $(printf 'src/util/%s.c ' $util) src/c11/impl/time.c \
    src/c11/impl/threads_posix.c -ldl -lm -lpthread -o "$out/bin/$3"
}
# program COMPILER LIBRARIES OUTPUT
program() {
  "$1" -std=gnu11 -O1 -Wall -Wextra -Werror -I"$out/work/include" "$here/shader_stats.c" \
    "$out/root/usr/lib/$2/libvulkan.so.1" -Wl,--allow-shlib-undefined -o "$out/bin/$3"
}
mkdir -p "$out/work/include"
ln -s /usr/include/vulkan /usr/include/vk_video "$out/work/include"
shim gcc src/freedreno/drm-shim/freedreno_noop.c adreno_shim.so &
shim aarch64-linux-gnu-gcc src/panfrost/drm-shim/panfrost_noop.c mali_shim.so &
wait -n && wait -n || unavailable "drm-shim did not build" "see the compiler's message above"
program gcc x86_64-linux-gnu adreno_stats
program aarch64-linux-gnu-gcc aarch64-linux-gnu mali_stats
cd "$out"
rm -rf work
echo "$stamp" > stamp
echo "mobile_shaders: Mesa $MESA set up in $out, $(du -sm "$out" | cut -f 1) MB" >&2
