# cmake -D library=NAME.so -D body=FILE -P postrec_write_manifest.cmake: writes NAME.postrec.json beside the library.
# `body` holds the members that are known before linking; the library's name and sha256 are added.
cmake_path(GET library PARENT_PATH folder)
cmake_path(GET library FILENAME file)
cmake_path(GET library STEM LAST_ONLY name)
file(READ "${body}" members)
file(SHA256 "${library}" hash)
set(manifest "${folder}/${name}.postrec.json")
file(WRITE "${manifest}.tmp" "{\n${members}  \"library\": \"${file}\",\n  \"sha256\": \"${hash}\"\n}\n")
file(RENAME "${manifest}.tmp" "${manifest}")
