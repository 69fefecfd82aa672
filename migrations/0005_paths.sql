-- Whether another video has a file of that name is asked before each file is named, whatever the length of the history.
CREATE INDEX files_by_path ON files (path) WHERE path IS NOT NULL;
