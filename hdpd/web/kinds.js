// What kind of file a name promises: for icons, filters and previews.

const ENDINGS = {
  image: "jpg jpeg png gif webp avif bmp ico heic tif tiff svg psd raw cr2 nef",
  audio: "mp3 flac ogg oga opus m4a aac wav wma aiff alac ape mka mid",
  video: "mp4 m4v mkv webm mov ogv avi wmv mpg mpeg ts m2ts flv 3gp vob",
  document: "pdf epub mobi azw3 djvu doc docx odt rtf xls xlsx ods ppt pptx odp tex html htm cbz cbr",
  text: "txt md log nfo srt sub vtt csv tsv json xml yaml yml toml ini conf cue m3u m3u8 diff patch sh py js css c h rs go java",
  archive: "zip rar 7z tar gz tgz bz2 xz zst iso img dmg deb rpm jar apk",
};
const KIND_OF = new Map(
  Object.entries(ENDINGS).flatMap(([kind, endings]) => endings.split(" ").map((ending) => [ending, kind])),
);

// What browsers can show; hdpd sends these with their own content type, all else as a download.
const SHOWN = new Set("jpg jpeg png gif webp avif bmp mp3 flac ogg oga opus m4a aac wav mp4 m4v mkv webm mov ogv".split(" "));

const ending = (name) => (name.includes(".") ? name.slice(name.lastIndexOf(".") + 1).toLowerCase() : "");

export function kindOf(entry) {
  if (entry.type === "directory") return "folder";
  return KIND_OF.get(ending(entry.name)) || "file";
}

export const iconOf = (entry) => ({ text: "document" })[kindOf(entry)] || kindOf(entry);

// "image", "audio", "video" or "text" for what can be looked at here, else null.
export function previewOf(entry) {
  const kind = kindOf(entry);
  if (kind === "text") return kind;
  return SHOWN.has(ending(entry.name)) ? kind : null;
}

// The choices of the search's filter.
export const CHOICES = [
  ["all", "Everything", () => true],
  ["audio", "Audio", (kind) => kind === "audio"],
  ["video", "Video", (kind) => kind === "video"],
  ["image", "Images", (kind) => kind === "image"],
  ["document", "Documents", (kind) => kind === "document" || kind === "text"],
  ["archive", "Archives", (kind) => kind === "archive"],
  ["folder", "Directories", (kind) => kind === "folder"],
];

export function encodePath(path) {
  return path.split("/").map(encodeURIComponent).join("/");
}

// Where the bytes of a file of a peer, or of this hdpd, are.
export function fileUrl(peer, path) {
  const base = peer === "self" ? "shares" : `files/${encodeURIComponent(peer)}`;
  return `${base}/${encodePath(path)}`;
}
