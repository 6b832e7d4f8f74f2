//! From text to rows: a Hugging Face tokenizer whose stored truncation and padding are switched off,
//! because the bucket decides about both.

use std::path::Path;

use anyhow::Result;
use serde_json::Value;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::bert::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::bert::BertProcessing;
use tokenizers::{AddedToken, Decoder as _, Encoding};

use crate::bucket::Row;
use crate::failure::Failure;
use crate::files;

/// The file of a fast tokenizer, in repositories and in bundles.
pub const TOKENIZER_FILE: &str = "tokenizer.json";

/// The vocabulary from which a BERT tokenizer is built where there is no fast one.
pub const VOCABULARY_FILE: &str = "vocab.txt";

/// Settings of the tokenizer beside its vocabulary.
pub const TOKENIZER_CONFIG_FILE: &str = "tokenizer_config.json";

/// The mask tokens of nearly all models, for tokenizers whose settings name none.
const USUAL_MASKS: [&str; 2] = ["[MASK]", "<mask>"];

/// Turns texts into rows. Cheap to share, not to copy.
#[derive(Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    mask: Option<MaskToken>,
}

/// The token that stands for a word to fill in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskToken {
    pub text: String,
    pub id: i64,
}

/// A row with what its tokens are in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    pub row: Row,
    /// The text of each token.
    pub texts: Vec<String>,
    /// First character and the one after the last, in the text that the token comes from.
    pub offsets: Vec<(usize, usize)>,
    /// Which of the two texts the token comes from; `None` for special tokens.
    pub sources: Vec<Option<usize>>,
    /// Words of a text are counted from 0; tokens of one word share its number.
    pub words: Vec<Option<u32>>,
}

impl Tokens {
    /// The number of tokens, special ones included.
    pub fn len(&self) -> usize {
        self.row.ids.len()
    }

    /// True for a tokenizer that adds no special tokens and a text that has none.
    pub fn is_empty(&self) -> bool {
        self.row.ids.is_empty()
    }
}

impl Tokenizer {
    /// Opens the tokenizer of a model folder: `tokenizer.json`, else a BERT tokenizer from
    /// `vocab.txt` and `tokenizer_config.json`.
    pub fn open(folder: &Path) -> Result<Self> {
        let settings = settings(&folder.join(TOKENIZER_CONFIG_FILE))?;
        let mut tokenizer = Self::without_mask(folder, &settings)?;
        tokenizer.mask = match token_named(&settings, "mask_token") {
            Some(named) => tokenizer.find_mask(named),
            None => tokenizer.usual_mask(),
        };
        Ok(tokenizer)
    }

    fn without_mask(folder: &Path, settings: &Value) -> Result<Self> {
        let fast = folder.join(TOKENIZER_FILE);
        if fast.exists() {
            let inner = tokenizers::Tokenizer::from_bytes(files::read(&fast)?)
                .map_err(|error| unusable(&fast, &error.to_string()))?;
            return Self::without_limits(inner);
        }
        let vocabulary = folder.join(VOCABULARY_FILE);
        if !vocabulary.exists() {
            return Err(Failure::usage(format!("the model has no `{TOKENIZER_FILE}`"))
                .why(format!("nor `{VOCABULARY_FILE}`, in `{}`", folder.display()))
                .help("save the tokenizer beside the model with `tokenizer.save_pretrained(FOLDER)`")
                .into());
        }
        Self::without_limits(bert_tokenizer(&vocabulary, settings)?)
    }

    fn without_limits(mut inner: tokenizers::Tokenizer) -> Result<Self> {
        inner.with_truncation(None).map_err(|error| {
            Failure::usage("the tokenizer refuses to be used").why(error.to_string())
        })?;
        inner.with_padding(None);
        Ok(Self { inner, mask: None })
    }

    /// The mask token: the one that `tokenizer_config.json` names, else the one of the usual ones that is
    /// a special token. `None` where that is not in the vocabulary.
    pub fn mask(&self) -> Option<&MaskToken> {
        self.mask.as_ref()
    }

    /// The tokenizer with `text` as its mask token, as a bundle names it; fails where that is not in the
    /// vocabulary.
    pub fn with_mask(mut self, text: &str) -> Result<Self> {
        self.mask = Some(self.find_mask(text).ok_or_else(|| {
            Failure::usage(format!("the mask token `{text}` is not in the vocabulary"))
                .why("the tokenizer is another one than the model was traced with")
                .help("trace the model again with `--force`")
        })?);
        Ok(self)
    }

    fn find_mask(&self, text: &str) -> Option<MaskToken> {
        let id = self.token_id(text)?;
        let text = text.to_owned();
        Some(MaskToken { text, id })
    }

    /// `None` where there are two: nothing says which one the model was trained with.
    fn usual_mask(&self) -> Option<MaskToken> {
        let added = self.inner.get_added_tokens_decoder();
        let is_special = |text: &&&str| {
            let mut tokens = added.values();
            tokens.any(|token| token.special && token.content == **text)
        };
        let found: Vec<&&str> = USUAL_MASKS.iter().filter(is_special).collect();
        match found.as_slice() {
            [text] => self.find_mask(text),
            _ => None,
        }
    }

    /// The tokenizer as the text of a `tokenizer.json`.
    pub fn to_json(&self) -> Result<String> {
        self.inner.to_string(false).map_err(|error| {
            Failure::usage("the tokenizer cannot be saved")
                .why(error.to_string())
                .into()
        })
    }

    /// The tokens of a text, or of a pair of texts, with the special tokens of the model.
    pub fn encode(&self, text: &str, pair: Option<&str>) -> Result<Tokens> {
        let encoding = match pair {
            None => self.inner.encode_char_offsets(text, true),
            Some(pair) => self.inner.encode_char_offsets((text, pair), true),
        };
        encoding.map(tokens).map_err(|error| not_encoded(&*error))
    }

    /// The row of a text, as [`Self::encode`] gives it, and how many of its tokens are not special; for
    /// less than half the time, since nobody is told where the tokens are in the text.
    pub fn encode_row(&self, text: &str) -> Result<(Row, usize)> {
        let encoding = self.inner.encode_fast(text, true);
        let encoding = encoding.map_err(|error| not_encoded(&*error))?;
        let special = encoding.get_special_tokens_mask();
        let count = special.iter().filter(|special| **special == 0).count();
        Ok((row(&encoding), count))
    }

    /// The tokens that ids stand for, with the special tokens of the model around them unless they are
    /// there already; `None` for ids that the vocabulary does not have.
    pub fn encode_ids(&self, ids: &[u32]) -> Result<Option<Tokens>> {
        let texts: Option<Vec<String>> = ids.iter().map(|id| self.inner.id_to_token(*id)).collect();
        let Some(texts) = texts else {
            return Ok(None);
        };
        let around = self.special_ids()?;
        let is_whole = around.iter().any(|special| !special.is_empty())
            && ids.len() >= around[0].len() + around[1].len()
            && ids.starts_with(&around[0])
            && ids.ends_with(&around[1]);
        let inner = match is_whole {
            true => around[0].len()..ids.len() - around[1].len(),
            false => 0..ids.len(),
        };
        let count = inner.len();
        let encoding = Encoding::new(
            ids[inner.clone()].to_vec(),
            vec![0; count],
            texts[inner].to_vec(),
            vec![None; count],
            vec![(0, 0); count],
            vec![0; count],
            vec![1; count],
            Vec::new(),
            std::iter::once((0, 0..count)).collect(),
        );
        let encoding = self.inner.post_process(encoding, None, true);
        encoding
            .map(|encoding| Some(tokens(encoding)))
            .map_err(|error| not_encoded(&*error))
    }

    /// The special tokens before and after a text.
    fn special_ids(&self) -> Result<[Vec<u32>; 2]> {
        // Any token will do as the text; the first one is there in every vocabulary.
        let text = Encoding::new(
            vec![0],
            vec![0],
            vec![String::new()],
            vec![None],
            vec![(0, 0)],
            vec![0],
            vec![1],
            Vec::new(),
            std::iter::once((0, 0..1)).collect(),
        );
        let whole = self.inner.post_process(text, None, true);
        let whole = whole.map_err(|error| not_encoded(&*error))?;
        let mask = whole.get_special_tokens_mask();
        let place = mask.iter().position(|special| *special == 0).unwrap_or(0);
        let ids = whole.get_ids();
        Ok([
            ids[..place].to_vec(),
            ids.get(place + 1..).unwrap_or_default().to_vec(),
        ])
    }

    /// The id of a token by its exact text.
    pub fn token_id(&self, token: &str) -> Option<i64> {
        self.inner.token_to_id(token).map(i64::from)
    }

    /// The text of a token by its id.
    pub fn token(&self, id: usize) -> Option<String> {
        self.inner.id_to_token(u32::try_from(id).ok()?)
    }

    /// The text that ids stand for, with or without special tokens.
    pub fn decode(&self, ids: &[u32], special: bool) -> Result<String> {
        self.inner
            .decode(ids, !special)
            .map_err(|error| not_encoded(&*error))
    }

    /// The text that tokens, given by their own texts, stand for.
    pub fn join(&self, tokens: Vec<String>) -> Result<String> {
        match self.inner.get_decoder() {
            Some(decoder) => decoder.decode(tokens).map_err(|error| not_encoded(&*error)),
            None => Ok(tokens.join(" ")),
        }
    }
}

fn tokens(encoding: Encoding) -> Tokens {
    let special = encoding.get_special_tokens_mask();
    let sources = encoding.get_sequence_ids();
    let words = encoding.get_word_ids();
    Tokens {
        row: row(&encoding),
        texts: encoding.get_tokens().to_vec(),
        offsets: encoding.get_offsets().to_vec(),
        sources: sources
            .into_iter()
            .zip(special)
            .map(|(source, special)| source.filter(|_| *special == 0))
            .collect(),
        words: words.to_vec(),
    }
}

fn row(encoding: &Encoding) -> Row {
    let wide = |values: &[u32]| values.iter().map(|value| i64::from(*value)).collect();
    Row {
        ids: wide(encoding.get_ids()),
        type_ids: wide(encoding.get_type_ids()),
        position: None,
    }
}

fn unusable(path: &Path, why: &str) -> Failure {
    Failure::usage(format!("`{}` is not a usable tokenizer", path.display()))
        .why(why)
        .help("it is damaged or of a newer format: download it again")
}

fn not_encoded(error: &dyn std::error::Error) -> anyhow::Error {
    Failure::usage("the text cannot be tokenized")
        .why(error.to_string())
        .into()
}

/// The settings of a tokenizer; null where it has none.
fn settings(path: &Path) -> Result<Value> {
    if path.exists() {
        files::load_json(path)
    } else {
        Ok(Value::Null)
    }
}

/// A token that settings name, which may be an object with its `content`.
fn token_named<'a>(settings: &'a Value, key: &str) -> Option<&'a str> {
    let token = settings.get(key)?;
    token.as_str().or_else(|| token.get("content")?.as_str())
}

/// The fast form of transformers' `BertTokenizer`.
fn bert_tokenizer(vocabulary: &Path, settings: &Value) -> Result<tokenizers::Tokenizer> {
    let flag = |key: &str, default| {
        settings
            .get(key)
            .and_then(Value::as_bool)
            .unwrap_or(default)
    };
    let text = |key: &str, default: &str| token_named(settings, key).unwrap_or(default).to_owned();
    let model = WordPiece::from_file(&vocabulary.to_string_lossy())
        .unk_token(text("unk_token", "[UNK]"))
        .build()
        .map_err(|error| unusable(vocabulary, &error.to_string()))?;
    let mut tokenizer = tokenizers::Tokenizer::new(model);
    let special = [
        "cls_token",
        "sep_token",
        "pad_token",
        "unk_token",
        "mask_token",
    ];
    let special =
        special.map(|key| text(key, &format!("[{}]", key[..key.len() - 6].to_uppercase())));
    let id = |token: &str| {
        tokenizer
            .token_to_id(token)
            .map(|id| (token.to_owned(), id))
            .ok_or_else(|| unusable(vocabulary, &format!("it has no `{token}`")))
    };
    let processing = BertProcessing::new(id(&special[1])?, id(&special[0])?);
    let lowercase = flag("do_lower_case", true);
    let strip_accents = settings.get("strip_accents").and_then(Value::as_bool);
    let normalizer = BertNormalizer::new(
        true,
        flag("tokenize_chinese_chars", true),
        strip_accents,
        lowercase,
    );
    let refused = |error: tokenizers::Error| unusable(vocabulary, &error.to_string());
    tokenizer
        .with_normalizer(Some(normalizer))
        .map_err(refused)?
        .with_pre_tokenizer(Some(BertPreTokenizer))
        .with_post_processor(Some(processing))
        .with_decoder(Some(tokenizers::decoders::wordpiece::WordPiece::default()));
    tokenizer
        .add_special_tokens(special.map(|token| AddedToken::from(token, true)))
        .map_err(refused)?;
    Ok(tokenizer)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: [&str; 12] = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "who",
        "ruled",
        "it",
        "?",
        "alexander",
        "##s",
        "東",
    ];

    fn tokenizer() -> Tokenizer {
        let folder = tempfile::tempdir().unwrap();
        files::write(
            &folder.path().join(VOCABULARY_FILE),
            WORDS.join("\n").as_bytes(),
        )
        .unwrap();
        Tokenizer::open(folder.path()).unwrap()
    }

    #[test]
    fn a_vocabulary_alone_makes_a_bert_tokenizer() {
        let tokens = tokenizer()
            .encode("Who ruled it?", Some("Alexanders"))
            .unwrap();
        assert_eq!(tokens.row.ids, [2, 5, 6, 7, 8, 3, 9, 10, 3]);
        assert_eq!(tokens.row.type_ids, [0, 0, 0, 0, 0, 0, 1, 1, 1]);
        assert_eq!(tokens.sources[6], Some(1));
        assert_eq!(tokens.sources[5], None);
    }

    #[test]
    fn ids_get_the_special_tokens_that_they_lack() {
        let tokenizer = tokenizer();
        let text = tokenizer.encode("who ruled it", None).unwrap();
        for ids in [&[5, 6, 7][..], &[2, 5, 6, 7, 3]] {
            let tokens = tokenizer.encode_ids(ids).unwrap().unwrap();
            assert_eq!(tokens.row, text.row);
            assert_eq!(tokens.sources, text.sources);
        }
        // What looks like the end of a text is not its beginning.
        let tokens = tokenizer.encode_ids(&[5, 3]).unwrap().unwrap();
        assert_eq!(tokens.row.ids, [2, 5, 3, 3]);
        assert_eq!(tokenizer.encode_ids(&[5, 12]).unwrap(), None);
    }

    #[test]
    fn offsets_count_characters() {
        let tokens = tokenizer().encode("😀東 it", None).unwrap();
        assert_eq!(tokens.offsets[2], (1, 2));
        assert_eq!(tokens.offsets[3], (3, 5));
    }

    #[test]
    fn a_row_alone_is_the_row_of_the_tokens() {
        let tokenizer = tokenizer();
        for text in ["Who ruled it?", "alexanders unknown 東 [MASK]", "", "  \n"] {
            let (row, count) = tokenizer.encode_row(text).unwrap();
            let tokens = tokenizer.encode(text, None).unwrap();
            assert_eq!(row, tokens.row, "{text}");
            assert_eq!(count, tokens.sources.iter().flatten().count(), "{text}");
        }
    }

    /// The tokenizer of a vocabulary with the mask token of RoBERTa beside that of BERT.
    fn with_settings(settings: &str) -> Tokenizer {
        let folder = tempfile::tempdir().unwrap();
        let words = [&WORDS[..], &["<mask>"]].concat().join("\n");
        files::write(&folder.path().join(VOCABULARY_FILE), words.as_bytes()).unwrap();
        let path = folder.path().join(TOKENIZER_CONFIG_FILE);
        files::write(&path, settings.as_bytes()).unwrap();
        Tokenizer::open(folder.path()).unwrap()
    }

    #[test]
    fn the_mask_token_is_the_one_that_the_settings_name_or_a_special_one() {
        let mask = |settings: &str| {
            let tokenizer = with_settings(settings);
            tokenizer.mask().map(|mask| (mask.text.clone(), mask.id))
        };
        assert_eq!(mask("{}"), Some(("[MASK]".to_owned(), 4)));
        let roberta = Some(("<mask>".to_owned(), 12));
        assert_eq!(mask(r#"{"mask_token": "<mask>"}"#), roberta);
        assert_eq!(mask(r#"{"mask_token": {"content": "<mask>"}}"#), roberta);
        let sealed = with_settings("{}").with_mask("<mask>").unwrap();
        assert_eq!(sealed.mask().map(|mask| mask.id), Some(12));
        let error = with_settings("{}").with_mask("<m>").unwrap_err();
        assert!(error.to_string().contains("`<m>`"), "{error}");
    }

    #[test]
    fn what_makes_no_tokenizer_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = Tokenizer::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("tokenizer.json"), "{error}");
        files::write(&folder.path().join(TOKENIZER_FILE), b"{").unwrap();
        let error = Tokenizer::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("not a usable tokenizer"), "{error}");
    }
}
